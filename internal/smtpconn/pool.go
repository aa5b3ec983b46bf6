package smtpconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Defaults of a Pool.
const (
	// DefaultPoolSize is how many connections an account may have at a time.
	// Providers allow few, and one takes several messages a second.
	DefaultPoolSize = 3
	// DefaultIdleTimeout is how long a connection is kept for the next message.
	// RFC 5321 section 4.5.3.2.7 lets a server wait 5 minutes; many wait less.
	DefaultIdleTimeout = 30 * time.Second
)

// PoolConfig says how a Pool makes its connections.
type PoolConfig struct {
	// Config gives the settings for the next connection, with fresh credentials.
	Config func(ctx context.Context) (Config, error)
	// Size bounds the connections, IdleTimeout how long one is kept unused; 0
	// means the default.
	Size        int
	IdleTimeout time.Duration
	// Limits, where they are given, bound what all pools do to one host.
	Limits *imapconn.HostLimits
}

// Pool keeps an account's connections for one message after the other. It is safe
// for concurrent use.
type Pool struct {
	config PoolConfig
	slots  chan struct{}

	mu     sync.Mutex
	idle   []*pooled // the one used last at the end
	closed bool
}

// pooled is a connection at rest.
type pooled struct {
	conn    *Conn
	release func()
	timer   *time.Timer
}

// NewPool makes a pool. Close ends it.
func NewPool(config PoolConfig) *Pool {
	if config.Size <= 0 {
		config.Size = DefaultPoolSize
	}
	if config.IdleTimeout <= 0 {
		config.IdleTimeout = DefaultIdleTimeout
	}
	return &Pool{config: config, slots: make(chan struct{}, config.Size)}
}

// Do calls fn with a connection that no transaction is open on, and waits for one
// as long as ctx allows. It fails like [Dial], with the errors of the settings,
// or as fn does. A connection that fn has left broken is not used again, and where fn
// fails with a [*StaleError] it is called again with another one.
func (p *Pool) Do(ctx context.Context, fn func(*Conn) error) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for an SMTP connection: %w", ctx.Err())
	}
	defer func() { <-p.slots }()
	for {
		used, err := p.take(ctx)
		if err != nil {
			return err
		}
		err = fn(used.conn)
		p.put(used)
		if _, stale := errors.AsType[*StaleError](err); !stale {
			return err
		}
	}
}

// take gives a connection at rest that still answers, or a new one.
func (p *Pool) take(ctx context.Context) (*pooled, error) {
	for {
		used := p.pop()
		if used == nil {
			return p.dial(ctx)
		}
		err := used.conn.ready(ctx)
		if err == nil {
			return used, nil
		}
		used.close()
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

func (p *Pool) pop() *pooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		last := len(p.idle) - 1
		used := p.idle[last]
		p.idle = p.idle[:last]
		if used.timer.Stop() {
			return used
		}
		// Its timer has fired and closes it.
	}
	return nil
}

func (p *Pool) dial(ctx context.Context) (*pooled, error) {
	config, err := p.config.Config(ctx)
	if err != nil {
		return nil, err
	}
	release := func() {}
	if p.config.Limits != nil {
		// SMTP and IMAP of one provider are often one host and two services.
		place, err := p.config.Limits.Acquire(ctx, "smtp:"+config.Host, false)
		if err != nil {
			return nil, fmt.Errorf("wait for a connection to %s: %w", config.Host, err)
		}
		release = place.Release
	}
	conn, err := Dial(ctx, config)
	if err != nil {
		release()
		return nil, err
	}
	return &pooled{conn: conn, release: release}, nil
}

// put keeps a connection for the next message, if it is good for one.
func (p *Pool) put(used *pooled) {
	if used.conn.broken != nil {
		used.close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		used.close()
		return
	}
	used.timer = time.AfterFunc(p.config.IdleTimeout, func() {
		p.forget(used)
		used.conn.Quit(context.Background())
		used.close()
	})
	p.idle = append(p.idle, used)
}

func (p *Pool) forget(used *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == used {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

// Close closes the connections at rest, and lets those in use be closed when they
// are given back.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, used := range idle {
		if used.timer.Stop() {
			used.close()
		}
	}
}

func (u *pooled) close() {
	_ = u.conn.Close()
	u.release()
}
