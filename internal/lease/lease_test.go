package lease

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

const testTTL = 2 * time.Second

func bucket(t *testing.T) (jetstream.KeyValue, *natsd.Server) {
	t.Helper()
	server := natsdtest.Start(t, natsd.Config{})
	kv, err := OpenBucket(t.Context(), natsdtest.JetStream(t, server), testTTL, 1)
	if err != nil {
		t.Fatal(err)
	}
	return kv, server
}

// hold runs Hold in the background; the returned channel gets its end.
func hold(ctx context.Context, kv jetstream.KeyValue, node string, fn func(context.Context) error) <-chan error {
	end := make(chan error, 1)
	go func() { end <- Hold(ctx, Config{KV: kv, Name: "watch", Node: node, TTL: testTTL}, fn) }()
	return end
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func TestOneHolderAtATime(t *testing.T) {
	t.Parallel()
	kv, _ := bucket(t)
	var holders atomic.Int32
	turns := make(chan string)
	for i := range 4 {
		node := fmt.Sprintf("node-%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		end := hold(ctx, kv, node, func(context.Context) error {
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d nodes hold the lease", n)
			}
			defer holders.Add(-1)
			turns <- node
			return nil
		})
		t.Cleanup(func() {
			cancel()
			if err := <-end; err != nil {
				t.Error(err)
			}
		})
	}
	seen := map[string]bool{}
	for range 4 {
		seen[receive(t, "a turn", turns)] = true
	}
	if len(seen) != 4 {
		t.Errorf("only %v had their turn", seen)
	}
}

func TestLeaseOfADeadNodeExpires(t *testing.T) {
	t.Parallel()
	kv, _ := bucket(t)
	if _, err := kv.Create(t.Context(), "watch", []byte("dead")); err != nil {
		t.Fatal(err)
	}
	end := hold(t.Context(), kv, "alive", func(context.Context) error { return errors.New("held") })
	if err := receive(t, "the lease", end); err == nil || err.Error() != "held" {
		t.Errorf("Hold returned %v", err)
	}
}

func TestHolderThatLosesItIsTold(t *testing.T) {
	t.Parallel()
	kv, _ := bucket(t)
	held := make(chan struct{}, 2)
	lost := make(chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	end := hold(ctx, kv, "slow", func(ctx context.Context) error {
		held <- struct{}{}
		<-ctx.Done()
		lost <- struct{}{}
		return nil
	})
	receive(t, "the lease", held)
	// As if the node had been paused for longer than the lease lasts.
	if _, err := kv.Put(t.Context(), "watch", []byte("other")); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loss", lost)
	if err := kv.Delete(t.Context(), "watch"); err != nil {
		t.Fatal(err)
	}
	receive(t, "the lease again", held)
	cancel()
	if err := receive(t, "the end", end); err != nil {
		t.Errorf("Hold returned %v", err)
	}
	if _, err := kv.Get(t.Context(), "watch"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the lease was not given back: %v", err)
	}
}

func TestHolderWithoutNATSGivesUpInTime(t *testing.T) {
	t.Parallel()
	kv, server := bucket(t)
	held, lost := make(chan struct{}, 1), make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	end := hold(ctx, kv, "node", func(ctx context.Context) error {
		held <- struct{}{}
		<-ctx.Done()
		lost <- struct{}{}
		return nil
	})
	receive(t, "the lease", held)
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loss", lost)
	cancel()
	if err := receive(t, "the end", end); err != nil {
		t.Error(err)
	}
}
