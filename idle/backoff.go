package idle

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = time.Second
	// DefaultRetryCap is the longest wait for a server that cannot be reached.
	DefaultRetryCap = 5 * time.Minute
	// healthyAfter is how long a connection must have worked for the next
	// failure to count as the first again. A server that accepts a login and
	// drops it at once must not be tried in a tight loop.
	healthyAfter = time.Minute
)

// backoff spaces out attempts to connect: exponentially, with full jitter, so
// that ten thousand accounts that lost one server do not come back as one.
type backoff struct {
	cap      time.Duration
	failures int
}

// next counts a failure and gives the time to wait after it: any up to a ceiling
// that doubles with each failure, but for the twentieth of it that keeps a lucky
// one from trying again at once.
func (b *backoff) next() time.Duration {
	ceiling := b.cap
	if b.failures < 16 {
		ceiling = min(backoffFirst<<b.failures, b.cap)
	}
	b.failures++
	floor := ceiling / 20
	return floor + rand.N(ceiling-floor) //nolint:gosec // spreads attempts, hides nothing
}

// reset makes the next failure the first.
func (b *backoff) reset() { b.failures = 0 }
