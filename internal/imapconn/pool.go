package imapconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/limit"
)

const (
	// DefaultPoolSize is the number of connections of an account's pool. Some
	// servers allow no more than three to fifteen per account, of which watching
	// takes its share.
	DefaultPoolSize = 3
	// DefaultPoolIdle is how long an unused connection is kept.
	DefaultPoolIdle = time.Minute
	// trusted is how long after its last use a connection is taken to be alive
	// if nothing on the socket speaks against it.
	trusted = 15 * time.Second
	// checkTimeout bounds the look whether a connection is alive.
	checkTimeout = 10 * time.Second
	// drainTimeout is how long Close waits for connections in use.
	drainTimeout = 5 * time.Second
)

// ErrPoolClosed is what Do returns after Close.
var ErrPoolClosed = errors.New("the connection pool is closed")

// PoolConfig says what a pool is for.
type PoolConfig struct {
	// Config returns how to connect. It is called for each new connection, so
	// that changed credentials take effect.
	Config func(ctx context.Context) (Config, error)
	// Size is the number of connections at a time; 0 means [DefaultPoolSize].
	Size int
	// Idle is how long an unused connection is kept; 0 means [DefaultPoolIdle].
	Idle time.Duration
	// Limits, unless nil, bounds the connections and logins per host.
	Limits *HostLimits
}

// Pool keeps the connections that serve the requests of one account: opened
// when needed, reused while they live, closed after a while without use. Its
// methods may be called from any goroutine.
type Pool struct {
	cfg   PoolConfig
	slots *limit.Line // held by each Do that has a connection
	slow  *limit.Line // held beside its slot by each Do of a slow request

	mu      sync.Mutex
	idle    []*pooled // the last one was used last
	inUse   map[*pooled]struct{}
	names   uint64 // counts the calls of Reselect
	closed  bool
	drained chan struct{} // closed when the pool is closed and nothing in use
	janitor *time.Timer   // nil while nothing is idle
}

// pooled is a connection of a pool.
type pooled struct {
	*Conn
	release func() // gives the host's slot back
	used    time.Time
	// names is the pool's when the mailbox was selected, see Reselect.
	names uint64
}

// NewPool returns a pool. It opens no connection yet.
func NewPool(cfg PoolConfig) *Pool {
	if cfg.Size <= 0 {
		cfg.Size = DefaultPoolSize
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultPoolIdle
	}
	less := func(n int) int { return max(1, n-1) }
	return &Pool{
		cfg:     cfg,
		slots:   limit.NewLine(cfg.Size, less(cfg.Size)),
		slow:    limit.NewLine(less(cfg.Size), less(less(cfg.Size))),
		inUse:   make(map[*pooled]struct{}),
		drained: make(chan struct{}),
	}
}

// Do calls fn with a connection that has the mailbox selected, or with any
// connection if mailbox is empty. It waits for one as long as ctx allows, in a line
// in which everybody that [DoOptions.For] names gets a turn. fn must not keep the
// connection.
//
// A connection that broke, in fn or because of it, is not used again. If it had
// been at rest in the pool and broke before the server answered anything, fn is
// called a second time, with a new connection. See also DoOptions.Again.
func (p *Pool) Do(ctx context.Context, mailbox string, opts *DoOptions, fn func(*Conn) error) error {
	if opts == nil {
		opts = &DoOptions{}
	}
	if opts.Slow {
		if err := acquire(ctx, opts, p.slow); err != nil {
			return err
		}
		defer p.slow.Leave(opts.For)
	}
	if err := acquire(ctx, opts, p.slots); err != nil {
		return err
	}
	defer p.slots.Leave(opts.For)

	again, err := p.try(ctx, mailbox, opts, fn, false)
	if again {
		_, err = p.try(ctx, mailbox, opts, fn, true)
	}
	for opts.Again && ctx.Err() == nil && WorthRepeating(err) {
		_, err = p.try(ctx, mailbox, opts, fn, true)
	}
	return err
}

// try is one attempt of Do. again says that it failed only because a connection
// had died at rest.
func (p *Pool) try(ctx context.Context, mailbox string, opts *DoOptions, fn func(*Conn) error, fresh bool) (again bool, err error) {
	conn, reused, err := p.take(ctx, mailbox, opts, fresh)
	if err != nil {
		return false, err
	}
	defer p.put(conn)
	answered := conn.answered
	if err = p.enter(ctx, conn, mailbox, opts); err == nil {
		err = fn(conn.Conn)
	}
	again = err != nil && reused && !opts.Once && ctx.Err() == nil &&
		conn.answered == answered && diedAtRest(conn.Err())
	return again, err
}

// diedAtRest reports whether what closed a connection may have happened before
// it was used.
func diedAtRest(err error) bool {
	var (
		network *NetworkError
		bye     *ByeError
		silence *TimeoutError
	)
	return errors.As(err, &network) || errors.As(err, &bye) || errors.As(err, &silence)
}

// enter selects the mailbox unless it is.
func (p *Pool) enter(ctx context.Context, conn *pooled, mailbox string, opts *DoOptions) error {
	p.mu.Lock()
	names := p.names
	p.mu.Unlock()
	if mailbox == "" || conn.suits(mailbox, names, opts) {
		return nil
	}
	// Before the SELECT: what is renamed during it may be the one or the other.
	conn.names = names
	_, err := conn.Select(ctx, mailbox, &SelectOptions{ReadOnly: opts.ReadOnly})
	return err
}

func (conn *pooled) suits(mailbox string, names uint64, opts *DoOptions) bool {
	m := conn.mailbox
	return m != nil && conn.names == names && sameMailbox(m.name, mailbox) && (opts.ReadOnly || !m.examined)
}

// Reselect makes all connections select their mailbox again before they are used
// for it. It is for when mailboxes were renamed or deleted: a connection that has
// one selected keeps it, whatever it is called now, while another one may have got
// its name.
func (p *Pool) Reselect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names++
}

// take returns a connection: one at rest that is alive, or a new one.
func (p *Pool) take(ctx context.Context, mailbox string, opts *DoOptions, fresh bool) (conn *pooled, reused bool, err error) {
	for !fresh {
		conn, err := p.takeIdle(mailbox, opts)
		if err != nil {
			return nil, false, err
		}
		if conn == nil {
			break
		}
		if conn.alive(ctx, opts) {
			return conn, true, nil
		}
		p.put(conn)
		if ctx.Err() != nil {
			return nil, false, fmt.Errorf("check a connection: %w", ctx.Err())
		}
	}
	if fresh {
		p.dropIdle() // what died at rest seldom died alone
	}
	conn, err = p.connect(ctx, opts)
	return conn, false, err
}

// takeIdle takes the connection at rest that suits best, or nil: one that has
// the mailbox selected, one that has none, or the one that was used last.
func (p *Pool) takeIdle(mailbox string, opts *DoOptions) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrPoolClosed
	}
	if len(p.idle) == 0 {
		return nil, nil
	}
	i := slices.IndexFunc(p.idle, func(c *pooled) bool { return mailbox != "" && c.suits(mailbox, p.names, opts) })
	if i < 0 {
		i = slices.IndexFunc(p.idle, func(c *pooled) bool { return c.mailbox == nil })
	}
	if i < 0 {
		i = 0 // whose mailbox has been of no use for the longest
	}
	conn := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	p.inUse[conn] = struct{}{}
	return conn, nil
}

// alive checks a connection that was at rest, by a look at the socket if it was
// used a moment ago, else by a round trip. On false it is closed.
func (conn *pooled) alive(ctx context.Context, opts *DoOptions) bool {
	closed, pending, ok := probe(conn.t.raw)
	if closed {
		_ = conn.fail(&NetworkError{Command: "check", Err: errClosedAtRest})
		return false
	}
	if ok && !pending && !opts.Once && conn.dec.Buffered() == 0 && time.Since(conn.used) < trusted {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := conn.Noop(ctx)
	if err != nil {
		_ = conn.fail(err) // also if it was only refused: that is no healthy connection
	}
	return err == nil
}

var errClosedAtRest = errors.New("the server closed the connection")

// connect opens a new connection.
func (p *Pool) connect(ctx context.Context, opts *DoOptions) (*pooled, error) {
	cfg, err := p.cfg.Config(ctx)
	if err != nil {
		return nil, err
	}
	conn := &pooled{release: func() {}}
	if p.cfg.Limits != nil {
		var place *Place
		err := patiently(ctx, opts.Wait, func(ctx context.Context) (err error) {
			place, err = p.cfg.Limits.Acquire(ctx, cfg.Host, false)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("wait for a connection to %s: %w", cfg.Host, err)
		}
		conn.release, cfg.BeforeLogin = place.Release, place.AwaitLogin
	}
	if conn.Conn, err = Dial(ctx, cfg); err != nil {
		conn.release()
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	p.inUse[conn] = struct{}{}
	p.mu.Unlock()
	if closed {
		_ = conn.fail(ErrPoolClosed)
		p.put(conn)
		return nil, ErrPoolClosed
	}
	return conn, nil
}

// put takes a connection back after use.
func (p *Pool) put(conn *pooled) {
	conn.queued = false
	conn.used = time.Now()
	err := conn.Err() // before somebody else may have it
	p.mu.Lock()
	delete(p.inUse, conn)
	keep := err == nil && !p.closed
	if keep {
		p.idle = append(p.idle, conn)
		p.watch()
	}
	if p.closed && len(p.inUse) == 0 {
		p.drain()
	}
	p.mu.Unlock()
	if !keep {
		conn.end()
	}
	var stale *StaleListError
	if errors.As(err, &stale) {
		p.dropIdle() // whose lists may be as old
	}
}

// end closes a connection for good.
func (conn *pooled) end() {
	if conn.state != imap.ConnStateLogout {
		_ = conn.Logout(context.Background())
	}
	conn.release()
}

// watch sees to it that the janitor comes when the connection that has been at
// rest for the longest is due. The caller holds mu.
func (p *Pool) watch() {
	if p.janitor != nil || len(p.idle) == 0 {
		return
	}
	p.janitor = time.AfterFunc(time.Until(p.idle[0].used.Add(p.cfg.Idle)), p.sweep)
}

// sweep closes the connections that have been at rest for too long.
func (p *Pool) sweep() {
	p.mu.Lock()
	due := time.Now().Add(-p.cfg.Idle)
	n := 0
	for n < len(p.idle) && !p.idle[n].used.After(due) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.janitor = nil
	p.watch()
	p.mu.Unlock()
	for _, conn := range old {
		conn.end()
	}
}

// dropIdle closes all connections at rest.
func (p *Pool) dropIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, conn := range idle {
		_ = conn.fail(&ClosedError{Err: errClosedAtRest})
		conn.end()
	}
}

// Close closes the pool. Connections at rest are closed at once; those in use
// may finish what they do for a few seconds, then they are closed too. Do fails
// with [ErrPoolClosed] from then on.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.drained
		return nil
	}
	p.closed = true
	idle := p.idle
	p.idle = nil
	if p.janitor != nil {
		p.janitor.Stop()
	}
	if len(p.inUse) == 0 {
		p.drain()
	}
	p.mu.Unlock()
	for _, conn := range idle {
		conn.end()
	}
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-p.drained:
		return nil
	case <-timer.C:
	}
	p.mu.Lock()
	for conn := range p.inUse {
		_ = conn.Close()
	}
	p.mu.Unlock()
	<-p.drained
	return nil
}

// drain tells Close that nothing is in use any more. The caller holds mu.
func (p *Pool) drain() {
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}
