package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// place is what a call has taken of the limits of its caller. It is given back
// once: by who runs the call, or, should the call end before that begins, by who
// took it.
type place struct {
	leave   func()
	given   sync.Once
	claimed atomic.Bool
	// awaited ends a call that does not arrive, nil where it need not.
	awaited *time.Timer
}

type placeKey struct{}

// claim takes over the place that the entrance has taken for a call. give is to be
// called at the call's end.
func claim(ctx context.Context) (give func()) {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok {
		return func() {}
	}
	p.claimed.CompareAndSwap(false, true)
	p.stopWaiting()
	return p.give
}

func (p *place) give() { p.given.Do(p.leave) }

// giveUnlessClaimed gives back the place of a call that has ended.
func (p *place) giveUnlessClaimed() {
	if p.claimed.CompareAndSwap(false, true) {
		p.stopWaiting()
		p.give()
	}
}

func (p *place) stopWaiting() {
	if p.awaited != nil {
		p.awaited.Stop()
	}
}
