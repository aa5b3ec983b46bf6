package token

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/waittest"
)

// A watch that has fallen silent, as when NATS moves the bucket to another server, does
// not keep revocations from being in force.
func TestSilentWatch(t *testing.T) {
	t.Parallel()
	stores, js := nodes(t, 2, Config{})
	made := create(t, stores[0], reader())
	waittest.For(t, "the other node to know the token", func() bool { _, err := show(stores[1], made); return err == nil })
	who, err := show(stores[1], made)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	silenced := 0
	for consumer := range bucket.ListConsumers(t.Context()).Info() {
		if err := bucket.DeleteConsumer(t.Context(), consumer.Name); err != nil {
			t.Fatal(err)
		}
		silenced++
	}
	if silenced != len(stores) {
		t.Fatalf("%d watches are silenced, of %d nodes", silenced, len(stores))
	}
	began := time.Now()
	if _, err := stores[0].Revoke(t.Context(), made.ID(), ""); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the caller at the other node to be told", func() bool { return isOver(who) })
	t.Logf("in force after %s", time.Since(began))
}

// A bucket that is restored to an earlier state under a running node is what counts
// from then on.
func TestRestoredBucket(t *testing.T) {
	t.Parallel()
	stores, js := nodes(t, 1, Config{})
	s := stores[0]
	old := create(t, s, reader())
	backup, err := s.kv.Get(t.Context(), tokenPrefix+old.ID())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		create(t, s, reader())
	}
	later := create(t, s, reader())
	who, err := show(s, later)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke(t.Context(), old.ID(), ""); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the watch to have come to the end", func() bool { return s.cache.reached() >= 8 })

	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	restored, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, History: 1, LimitMarkerTTL: markerTTL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restored.Put(t.Context(), tokenPrefix+old.ID(), backup.Value()); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "a token that was made later to be nobody's", func() bool {
		_, err := show(s, later)
		return isOver(who) && errors.Is(err, access.ErrInvalid)
	})
	waittest.For(t, "a token that was revoked later to be taken again", func() bool { _, err := show(s, old); return err == nil })
	if all := s.All(); len(all) != 1 {
		t.Errorf("%d tokens are listed", len(all))
	}
	create(t, s, reader()) // which works as before
}
