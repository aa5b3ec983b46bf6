package idle

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/linktest"
	"github.com/postern-mail/postern/internal/natsd"
)

// jetStreamOver connects to a NATS server through a link, until the test ends.
func jetStreamOver(t testing.TB, link *linktest.Link, server *natsd.Server) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(server.URL().Reveal(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.SetCustomDialer(link), nats.IgnoreDiscoveredServers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
