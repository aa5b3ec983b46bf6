package folder

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
)

// connect starts a NATS server of its own.
func connect(t *testing.T) jetstream.JetStream {
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
	return js
}

// bucket is like the one of OpenBucket, but in memory: what a test writes need
// not be synced to a disk that other tests keep busy.
func bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	kv, err := connect(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: Bucket, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}
