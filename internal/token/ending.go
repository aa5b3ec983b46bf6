package token

import (
	"sync"
	"time"
)

// longestWait is how long a timer runs before the clock is looked at again, which
// somebody may have set.
const longestWait = time.Minute

// ending is the end of a token as it is: by its expiry, or because it was revoked
// or changed before.
type ending struct {
	over chan struct{}

	mu    sync.Mutex
	ended bool
	timer *time.Timer
}

func newEnding(t *Token) *ending {
	e := &ending{over: make(chan struct{})}
	switch {
	case !t.RevokeTime.IsZero():
		e.end()
	case !t.ExpireTime.IsZero():
		e.at(t.ExpireTime)
	}
	return e
}

// at waits for the expiry.
func (e *ending) at(expires time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	left := time.Until(expires)
	if left <= 0 {
		e.close()
		return
	}
	e.timer = time.AfterFunc(min(left, longestWait), func() { e.at(expires) })
}

// end is the end before the expiry.
func (e *ending) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
	if !e.ended {
		e.close()
	}
}

// close is called with the lock held, once.
func (e *ending) close() {
	e.ended = true
	close(e.over)
}
