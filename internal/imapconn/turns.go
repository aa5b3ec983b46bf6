package imapconn

import (
	"context"
	"sync/atomic"
	"time"
)

// turnWindow is the time in which there are as many turns as there may be in a
// second. It is a little longer than one, for what leaves here evenly arrives
// elsewhere in bursts.
const turnWindow = 1100 * time.Millisecond

// turns gives out turns: a number of them at once, and never more within a
// window, wherever the window begins. Those who wait get theirs in order.
type turns struct {
	window time.Duration
	lock   chan struct{} // held by whoever is next
	// The turns given out last; given[next] was the first of them.
	given []time.Time
	next  int
	last  atomic.Int64 // when a turn was given out last, in Unix nanoseconds
}

func newTurns(perWindow int, window time.Duration) *turns {
	return &turns{window: window, lock: make(chan struct{}, 1), given: make([]time.Time, perWindow)}
}

// wait waits for a turn, for as long as ctx allows.
func (t *turns) wait(ctx context.Context) error {
	if err := hold(ctx, t.lock); err != nil {
		return err
	}
	defer func() { <-t.lock }()
	if ctx.Err() != nil {
		return ctx.Err() // although the lock was free
	}
	if due := time.Until(t.given[t.next].Add(t.window)); due > 0 {
		timer := time.NewTimer(due)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	now := time.Now()
	t.given[t.next] = now
	t.next = (t.next + 1) % len(t.given)
	t.last.Store(now.UnixNano())
	return nil
}

// fresh reports whether all turns can be had.
func (t *turns) fresh() bool { return time.Since(time.Unix(0, t.last.Load())) >= t.window }

// hold takes a place in slots.
func hold(ctx context.Context, slots chan<- struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
