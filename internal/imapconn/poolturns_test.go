package imapconn

import (
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/waittest"
)

// Somebody who makes many requests waits for them, and not who makes one: once both
// ask, one connection is never theirs.
func TestPoolLeavesOneForOthers(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, func(cfg *PoolConfig) { cfg.Size = 3 })
	ctx := testContext(t)
	release := make(chan struct{})
	entered := make(chan struct{}, 20)
	var flood sync.WaitGroup
	for range 20 {
		flood.Go(func() {
			err := p.Do(ctx, "", &DoOptions{For: "flood"}, func(*Conn) error {
				entered <- struct{}{}
				<-release
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 { // alone, it has all
		<-entered
	}
	// Another one comes: the next connection is theirs, before all who came earlier.
	other := make(chan error, 1)
	go func() { other <- p.Do(ctx, "", &DoOptions{For: "other"}, noop(t)) }()
	waittest.For(t, "the other one to be in line", func() bool { return p.slots.Waiting() == 18 })
	release <- struct{}{}
	if err := <-other; err != nil {
		t.Fatal(err)
	}
	// From now on they need not wait, while all of the flood stands still.
	for range 5 {
		if err := p.Do(ctx, "", &DoOptions{For: "other"}, noop(t)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	flood.Wait()
	if p.slots.Held() != 0 || p.slots.Waiting() != 0 {
		t.Errorf("%d connections are lent and %d wait in the end", p.slots.Held(), p.slots.Waiting())
	}
}
