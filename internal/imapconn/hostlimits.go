package imapconn

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// Defaults of HostLimits.
const (
	DefaultHostConnections = 50
	DefaultHostLogins      = 10
)

// HostLimits bounds what all accounts together ask of one server: connections
// at a time, and logins per second. It is shared between pools, and may be used
// for other connections to the same servers too.
type HostLimits struct {
	connections int
	logins      rate.Limit
	burst       int

	mu    sync.Mutex
	hosts map[string]*host
}

// host is the use made of one server.
type host struct {
	slots  chan struct{}
	logins *rate.Limiter
	users  int // those who hold a slot or wait for one
}

// NewHostLimits returns limits per host: the number of connections at a time,
// and of logins per second, which is also the burst. A number that is not
// positive means the default.
func NewHostLimits(connections, loginsPerSecond int) *HostLimits {
	if connections <= 0 {
		connections = DefaultHostConnections
	}
	if loginsPerSecond <= 0 {
		loginsPerSecond = DefaultHostLogins
	}
	return &HostLimits{
		connections: connections,
		logins:      rate.Limit(loginsPerSecond),
		burst:       loginsPerSecond,
		hosts:       make(map[string]*host),
	}
}

// Acquire waits until a connection to the host may be opened, for as long as
// ctx allows. The returned function is to be called, once, when it is closed.
func (l *HostLimits) Acquire(ctx context.Context, name string) (release func(), err error) {
	name = strings.ToLower(name)
	h := l.enter(name)
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		l.leave(name, h)
		return nil, ctx.Err()
	}
	if err := h.logins.Wait(ctx); err != nil {
		<-h.slots
		l.leave(name, h)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, context.DeadlineExceeded // the turn would come too late
	}
	return sync.OnceFunc(func() {
		<-h.slots
		l.leave(name, h)
	}), nil
}

func (l *HostLimits) enter(name string) *host {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosts[name]
	if h == nil {
		h = &host{slots: make(chan struct{}, l.connections), logins: rate.NewLimiter(l.logins, l.burst)}
		l.hosts[name] = h
	}
	h.users++
	return h
}

// leave forgets a host that nobody uses, unless its login budget is in use.
func (l *HostLimits) leave(name string, h *host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.users--
	if h.users == 0 && h.logins.Tokens() >= float64(l.burst) {
		delete(l.hosts, name)
	}
}
