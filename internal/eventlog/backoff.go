package eventlog

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces attempts: exponentially, with jitter, up to max.
type backoff struct {
	min, max time.Duration
	current  time.Duration
}

// next waits for the next attempt, or returns ctx's error.
func (b *backoff) next(ctx context.Context) error {
	b.current = min(max(2*b.current, b.min), b.max)
	timer := time.NewTimer(b.current/2 + rand.N(b.current/2+1)) //nolint:gosec // spreads attempts, hides nothing
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (b *backoff) reset() { b.current = 0 }
