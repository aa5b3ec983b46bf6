package idle

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// hosts knows which mail servers are out of reach for most of their accounts.
// Each account waits longer after each failure, and when the server is back some
// would go on waiting for minutes: the first that gets through tells the others.
type hosts struct {
	mu    sync.Mutex
	known map[string]*host
}

// host is one mail server.
type host struct {
	owners  int           // at work on it
	failing int           // of them, those that did not reach it last time
	back    chan struct{} // closed, and replaced, when it is back
	backAt  time.Time
}

// attendance is an owner's part in a host.
type attendance struct {
	hosts   *hosts
	name    string
	host    *host
	failing bool
}

// attend notes that an owner has to do with a mail server, until leave.
func (h *hosts) attend(name string) *attendance {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.known[name]
	if of == nil {
		of = &host{back: make(chan struct{})}
		h.known[name] = of
	}
	of.owners++
	return &attendance{hosts: h, name: name, host: of}
}

func (a *attendance) leave() {
	a.hosts.mu.Lock()
	defer a.hosts.mu.Unlock()
	a.setFailing(false)
	if a.host.owners--; a.host.owners == 0 {
		delete(a.hosts.known, a.name)
	}
}

// failed notes that an attempt which began at a time did not reach the server.
// What it returns is closed when another one has, be it meanwhile.
func (a *attendance) failed(began time.Time) <-chan struct{} {
	a.hosts.mu.Lock()
	defer a.hosts.mu.Unlock()
	a.setFailing(true)
	if a.host.backAt.After(began) {
		now := make(chan struct{})
		close(now)
		return now
	}
	return a.host.back
}

// reached notes that the mailbox is watched. If most were out of reach until
// then, it was the server's fault, and that is over. One account that fails by
// itself is not tried any more often because the others come and go.
func (a *attendance) reached() {
	a.hosts.mu.Lock()
	defer a.hosts.mu.Unlock()
	most := 2*a.host.failing >= a.host.owners
	a.setFailing(false)
	if most && a.host.failing > 0 {
		close(a.host.back)
		a.host.back, a.host.backAt = make(chan struct{}), time.Now()
	}
}

// setFailing is called under the lock.
func (a *attendance) setFailing(failing bool) {
	if failing && !a.failing {
		a.host.failing++
	} else if !failing && a.failing {
		a.host.failing--
	}
	a.failing = failing
}

// backSpacing is the least time between two attempts of an account to reach a
// server that others have reached: one that lets everybody in and drops them
// soon must not be tried in a tight loop.
const backSpacing = 10 * time.Second

// comeBack waits before the next attempt, for as long as delay, or less if the
// server was out of reach and is back. began is when the last attempt did.
func (o *owner) comeBack(ctx context.Context, delay time.Duration, began time.Time, err error) error {
	var back <-chan struct{}
	if outOfReach(err) {
		back = o.host.failed(began)
	}
	return o.between(ctx, time.Now().Add(delay), back, began.Add(backSpacing))
}

// outOfReach reports whether a session ended because the server was not there, or
// went away.
func outOfReach(err error) bool {
	var (
		network *imapconn.NetworkError
		silent  *imapconn.TimeoutError
		bye     *imapconn.ByeError
	)
	return !isThrottled(err) && (errors.As(err, &network) || errors.As(err, &silent) || errors.As(err, &bye))
}
