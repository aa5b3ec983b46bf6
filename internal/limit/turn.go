package limit

import (
	"context"
	"sync"
	"time"
)

// Turn is a place in a [Line] that its holder has while it works, and gives up while
// it waits for others. All methods are safe for concurrent use, and those of a nil
// Turn do nothing.
type Turn struct {
	line *Line
	key  string
	pace Pace
	// A turn is part of one call, and its holder waits for the place as long as
	// that call's context allows.
	ctx context.Context //nolint:containedctx // see above

	mu    sync.Mutex
	held  bool
	since time.Time // when it got the place last
	over  bool
	waits int // of the holder's goroutines for others, at this moment
	lapse *time.Timer
}

type turnKey struct{}

// Pace says how turns follow each other.
type Pace struct {
	// Longest is how long a turn is at most without a pause: after that it is taken for
	// a wait that nobody has told of.
	Longest time.Duration
	// Rest is for how many times as long as somebody worked the place rests, while others
	// of the same key wait for it and there are other keys, too. What work sets going
	// elsewhere takes its time on the processors then.
	Rest int
}

// Begin waits for a place, for as long as ctx allows, and puts it into the context. End
// gives it back.
func (l *Line) Begin(ctx context.Context, key string, pace Pace) (context.Context, *Turn, error) {
	if err := l.enter(ctx, key, false); err != nil {
		return ctx, nil, err
	}
	t := &Turn{line: l, key: key, pace: pace, ctx: ctx, held: true, since: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lapse = time.AfterFunc(pace.Longest, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.give()
	})
	return context.WithValue(ctx, turnKey{}, t), t, nil
}

// TurnOf is the turn that ctx carries, nil if there is none.
func TurnOf(ctx context.Context) *Turn {
	t, _ := ctx.Value(turnKey{}).(*Turn)
	return t
}

// End gives the place back. A Resume after that has no effect.
func (t *Turn) End() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.give()
}

// Pause gives the place up until Resume. It is for a wait that uses no processor.
func (t *Turn) Pause() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits++
	t.give()
}

// Resume waits for a place again after a Pause, before those of the same key who have
// not had one yet. It returns without one if the context of Begin ends.
func (t *Turn) Resume() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.waits--
	wants := t.waits == 0 && !t.held && !t.over
	t.mu.Unlock()
	if !wants || t.line.enter(t.ctx, t.key, true) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held || t.over || t.waits > 0 { // by another goroutine, meanwhile
		t.line.Leave(t.key)
		return
	}
	t.held, t.since = true, time.Now()
	t.lapse.Reset(t.pace.Longest)
}

// give gives the place back if it is held.
func (t *Turn) give() {
	if t.held {
		t.held = false
		t.lapse.Stop()
		t.line.leaveAfter(t.key, time.Duration(t.pace.Rest)*time.Since(t.since))
	}
}
