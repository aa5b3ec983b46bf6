// Package natsdtest starts embedded NATS servers for tests.
package natsdtest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
)

// patience bounds the end of a server, which is far quicker.
const patience = time.Minute

// Start starts a server that ends with the test. Without a DataDir it has a
// directory of its own, without an Addr a free port of loopback.
func Start(tb testing.TB, config natsd.Config) *natsd.Server {
	tb.Helper()
	if config.DataDir == "" {
		config.DataDir = tb.TempDir()
	}
	if config.Addr == "" {
		config.Addr = "127.0.0.1:0"
	}
	srv, err := natsd.Start(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { Stop(tb, srv) })
	return srv
}

// Stop shuts a server down before the test ends, and waits until it has.
func Stop(tb testing.TB, srv *natsd.Server) {
	tb.Helper()
	// Not the test's context, which has ended when its clean-up runs.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		tb.Error(err)
	}
}

// JetStream connects within the process, until the test ends.
func JetStream(tb testing.TB, srv *natsd.Server) jetstream.JetStream {
	tb.Helper()
	conn, err := srv.Connect(tb.Context())
	return jetStreamBy(tb, conn, err)
}

// Remote connects as another process would, and again when a server is back at that
// address, until the test ends.
func Remote(tb testing.TB, url string, options ...nats.Option) jetstream.JetStream {
	tb.Helper()
	conn, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond)}, options...)...)
	return jetStreamBy(tb, conn, err)
}

// jetStreamBy uses a connection, unless it failed, and closes it when the test ends.
func jetStreamBy(tb testing.TB, conn *nats.Conn, err error) jetstream.JetStream {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}
