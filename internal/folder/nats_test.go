package folder

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// connect connects to a NATS server of its own.
func connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	return natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
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
