package folder

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
)

// bucket starts a NATS server of its own and opens the bucket in it.
func bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	server, err := natsd.Start(t.Context(), natsd.Config{DataDir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Shutdown(t.Context()) })
	conn, err := server.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := OpenBucket(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}
