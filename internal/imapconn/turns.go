package imapconn

import (
	"context"
	"sync"
	"time"
)

const (
	// turnWindow is the time in which there are as many turns as there may be in a
	// second. It is a little longer than one, for what leaves here evenly arrives
	// elsewhere in bursts.
	turnWindow = 1100 * time.Millisecond
	// longestTurn is after how long a turn counts as over that nobody has ended: a
	// server that lets somebody wait for a login must not keep out all others.
	longestTurn = 3 * time.Second
)

// turns gives out turns: never more than a number of them are under way or have
// ended within a window, wherever the window begins. So what is done in a turn is
// not seen more often by whoever is at the other end, even if this process stands
// still between a turn's beginning and its end. Those who wait get theirs in order.
type turns struct {
	window, longest time.Duration
	free            chan struct{}
}

func newTurns(perWindow int, window, longest time.Duration) *turns {
	t := &turns{window: window, longest: longest, free: make(chan struct{}, perWindow)}
	for range perWindow {
		t.free <- struct{}{}
	}
	return t
}

// begin waits for a turn, for as long as ctx allows. The function that it returns
// ends the turn; calling it again has no effect.
func (t *turns) begin(ctx context.Context) (end func(), err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err() // although there may be a turn
	}
	select {
	case <-t.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	over := sync.OnceFunc(func() {
		time.AfterFunc(t.window, func() { t.free <- struct{}{} }) // which has room for it
	})
	forgotten := time.AfterFunc(t.longest, over)
	return func() {
		forgotten.Stop()
		over()
	}, nil
}

// fresh reports whether all turns can be had.
func (t *turns) fresh() bool { return len(t.free) == cap(t.free) }

// hold takes a place in slots.
func hold(ctx context.Context, slots chan<- struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
