package imapconn

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Defaults of HostLimits.
const (
	// DefaultHostConnections only keeps a fault from taking all file
	// descriptors: each watched mailbox holds a connection.
	DefaultHostConnections = 20_000
	// DefaultHostLogins keeps the accounts from storming a server that comes
	// back.
	DefaultHostLogins = 10
)

// HostLimits bounds what all accounts together ask of one server: connections
// at a time, and attempts to connect and logins per second. It is shared between
// pools, and may be used for other connections to the same servers too.
type HostLimits struct {
	connections int
	logins      int

	mu    sync.Mutex
	hosts map[string]*host
}

// host is the use made of one server.
type host struct {
	slots chan struct{}
	// starts are the attempts to connect, and logins those to log in. The two
	// fall apart where a server that was stuck answers many at once.
	starts, logins *turns
	// patient is held by the one of the patient who stands in line with those who
	// are not.
	patient chan struct{}
	users   int // those who hold a slot or wait for one
}

// NewHostLimits returns limits per host: the number of connections at a time,
// and of logins in any second as the server sees them, which is also the burst. A number that is not
// positive means the default.
func NewHostLimits(connections, loginsPerSecond int) *HostLimits {
	if connections <= 0 {
		connections = DefaultHostConnections
	}
	if loginsPerSecond <= 0 {
		loginsPerSecond = DefaultHostLogins
	}
	return &HostLimits{connections: connections, logins: loginsPerSecond, hosts: make(map[string]*host)}
}

// Place is the right to one connection to a host.
type Place struct {
	host    *host
	release func()
}

// Release gives the place back, when the connection is closed. Calling it again
// has no effect.
func (p *Place) Release() { p.release() }

// AwaitLogin waits until the connection may log in, and returns what is to be
// called when it has. It is what [Config.BeforeLogin] is for.
func (p *Place) AwaitLogin(ctx context.Context) (done func(), err error) {
	return p.host.logins.begin(ctx)
}

// Acquire waits until a connection to the host may be opened, for as long as
// ctx allows.
//
// The patient stand back behind those who are not: a thousand mailboxes that
// are to be watched again must not hold up a request that somebody waits for.
func (l *HostLimits) Acquire(ctx context.Context, name string, patient bool) (*Place, error) {
	name = strings.ToLower(name)
	h := l.enter(name)
	if err := h.acquire(ctx, patient); err != nil {
		l.leave(name, h)
		return nil, err
	}
	return &Place{host: h, release: sync.OnceFunc(func() {
		<-h.slots
		l.leave(name, h)
	})}, nil
}

func (h *host) acquire(ctx context.Context, patient bool) error {
	if err := hold(ctx, h.slots); err != nil {
		return err
	}
	err := h.start(ctx, patient)
	if err != nil {
		<-h.slots
	}
	return err
}

func (h *host) start(ctx context.Context, patient bool) error {
	if patient {
		if err := hold(ctx, h.patient); err != nil {
			return err
		}
		defer func() { <-h.patient }()
	}
	end, err := h.starts.begin(ctx)
	if err == nil {
		end()
	}
	return err
}

func (l *HostLimits) enter(name string) *host {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hosts[name]
	if h == nil {
		h = &host{
			slots: make(chan struct{}, l.connections), patient: make(chan struct{}, 1),
			starts: newTurns(l.logins, turnWindow, longestTurn), logins: newTurns(l.logins, turnWindow, longestTurn),
		}
		l.hosts[name] = h
	}
	h.users++
	return h
}

// leave forgets a host that nobody uses, once all its turns can be had again.
func (l *HostLimits) leave(name string, h *host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.users--
	if h.users == 0 {
		time.AfterFunc(turnWindow, func() { l.forget(name, h) })
	}
}

func (l *HostLimits) forget(name string, h *host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case h.users > 0 || l.hosts[name] != h:
	case h.starts.fresh() && h.logins.fresh():
		delete(l.hosts, name)
	default:
		time.AfterFunc(turnWindow, func() { l.forget(name, h) })
	}
}
