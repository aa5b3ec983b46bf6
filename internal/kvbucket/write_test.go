package kvbucket_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// stores are where buckets are: on a single server, or with replicas.
var stores = map[string]struct {
	start    func(t *testing.T) jetstream.JetStream
	replicas int
}{
	"a single server": {func(t *testing.T) jetstream.JetStream {
		t.Helper()
		return natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	}, 1},
	"three replicas": {func(t *testing.T) jetstream.JetStream { t.Helper(); return natsdtest.Cluster(t) }, 3},
}

// Changes by several nodes at once are all made.
func TestChange(t *testing.T) {
	t.Parallel()
	for name, one := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kv, err := one.start(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: one.replicas})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Put(t.Context(), "k", []byte("0")); err != nil {
				t.Fatal(err)
			}
			const nodes, changes = 4, 10
			var running sync.WaitGroup
			for range nodes {
				running.Go(func() {
					for range changes {
						if err := kvbucket.Change(t.Context(), "count", func() error { return increment(t.Context(), kv) }); err != nil {
							t.Error(err)
						}
					}
				})
			}
			running.Wait()
			entry, err := kv.Get(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			if got := string(entry.Value()); got != strconv.Itoa(nodes*changes) {
				t.Errorf("the count is %s, want %d", got, nodes*changes)
			}
		})
	}
}

func increment(ctx context.Context, kv jetstream.KeyValue) error {
	entry, err := kv.Get(ctx, "k")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(entry.Value()))
	if err != nil {
		return err
	}
	_, err = kv.Update(ctx, "k", []byte(strconv.Itoa(n+1)), entry.Revision())
	return err
}

// A conflict is known as one on a single server, and where the bucket has replicas,
// which have other codes for it.
func TestIsConflict(t *testing.T) {
	t.Parallel()
	for name, one := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kv, err := one.start(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: one.replicas})
			if err != nil {
				t.Fatal(err)
			}
			first, err := kv.Create(t.Context(), "k", []byte("1"))
			if err != nil || kvbucket.IsConflict(err) {
				t.Fatal(err)
			}
			if _, err := kv.Create(t.Context(), "k", []byte("2")); !kvbucket.IsConflict(err) {
				t.Errorf("creating what is there: %v", err)
			}
			if _, err := kv.Update(t.Context(), "k", []byte("2"), first); err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Update(t.Context(), "k", []byte("3"), first); !kvbucket.IsConflict(err) {
				t.Errorf("changing what somebody else has changed: %v", err)
			}
			if err := kv.Purge(t.Context(), "k", jetstream.LastRevision(first)); !kvbucket.IsConflict(err) {
				t.Errorf("deleting what somebody else has changed: %v", err)
			}
			if _, err := kv.Get(t.Context(), "other"); err == nil || kvbucket.IsConflict(err) {
				t.Errorf("reading what is not there: %v", err)
			}
			// Where there are replicas, a write that meets another one under way is refused
			// with a code of its own.
			for range 20 {
				entry, err := kv.Get(t.Context(), "k")
				if err != nil {
					t.Fatal(err)
				}
				var done atomic.Int32
				var writers sync.WaitGroup
				for range 8 {
					writers.Go(func() {
						_, err := kv.Update(t.Context(), "k", []byte("4"), entry.Revision())
						if err == nil {
							done.Add(1)
						} else if !kvbucket.IsConflict(err) {
							t.Errorf("changing what somebody else is changing: %v", err)
						}
					})
				}
				writers.Wait()
				if done.Load() != 1 {
					t.Errorf("%d of the writers were the first", done.Load())
				}
			}
		})
	}
}
