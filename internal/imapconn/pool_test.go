package imapconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/waittest"
)

// honest serves sessions at once, and counts them. Every command succeeds.
type honest struct {
	listener net.Listener
	dials    atomic.Int32
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	commands []string
	wg       sync.WaitGroup
}

func newHonest(tb testing.TB) *honest {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	h := &honest{listener: l, conns: make(map[net.Conn]struct{})}
	h.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.dials.Add(1)
			h.mu.Lock()
			h.conns[conn] = struct{}{}
			h.mu.Unlock()
			h.wg.Go(func() { h.serve(conn) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		h.breakAll()
		h.wg.Wait()
	})
	return h
}

func (h *honest) serve(conn net.Conn) {
	defer conn.Close()
	fmt.Fprint(conn, "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n")
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		h.mu.Lock()
		h.commands = append(h.commands, command)
		h.mu.Unlock()
		fmt.Fprintf(conn, "%s OK done\r\n", tag)
	}
}

// breakAll closes all connections, as a server does that restarts.
func (h *honest) breakAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for conn := range h.conns {
		conn.Close()
		delete(h.conns, conn)
	}
}

func (h *honest) count(command string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.commands {
		if c == command {
			n++
		}
	}
	return n
}

func (h *honest) pool(tb testing.TB, change func(*PoolConfig)) *Pool {
	tb.Helper()
	host, port := splitAddr(tb, h.listener.Addr().String())
	cfg := PoolConfig{Config: func(context.Context) (Config, error) {
		return Config{Host: host, Port: port, TLSMode: ModePlaintext, CommandTimeout: testTimeout}, nil
	}}
	if change != nil {
		change(&cfg)
	}
	p := NewPool(cfg)
	tb.Cleanup(func() { p.Close() })
	return p
}

func noop(tb testing.TB) func(*Conn) error {
	return func(c *Conn) error { return c.Noop(testContext(tb)) }
}

func TestPoolReuses(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	for _, mailbox := range []string{"a", "a", "", "b", "b", "inbox", "INBOX"} {
		if err := p.Do(testContext(t), mailbox, nil, noop(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	for _, command := range []string{`SELECT "a"`, `SELECT "b"`, "SELECT INBOX"} {
		if n := h.count(command); n != 1 {
			t.Errorf("%d times %s", n, command)
		}
	}
}

func TestPoolAffinity(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	// Two connections, with a and b selected.
	err := p.Do(ctx, "a", nil, func(*Conn) error { return p.Do(ctx, "b", nil, noop(t)) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, mailbox := range []string{"a", "b"} {
			if err := p.Do(ctx, mailbox, nil, noop(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, b := h.count(`SELECT "a"`), h.count(`SELECT "b"`); a != 1 || b != 1 || h.dials.Load() != 2 {
		t.Errorf("%d and %d selects, %d connections", a, b, h.dials.Load())
	}
}

// TestPoolReselect: a mailbox that was renamed stays selected, and another one may
// have its name by now.
func TestPoolReselect(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	err := p.Do(ctx, "a", nil, func(*Conn) error {
		p.Reselect() // while the connection is in use
		return p.Do(ctx, "a", nil, noop(t))
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Reselect()
	for range 2 {
		if err := p.Do(ctx, "a", nil, noop(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.count(`SELECT "a"`); n != 3 {
		t.Errorf("%d SELECTs, want 3", n)
	}
}

func TestPoolReadOnly(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	for _, readOnly := range []bool{true, true, false, true} {
		if err := p.Do(ctx, "a", &DoOptions{ReadOnly: readOnly}, noop(t)); err != nil {
			t.Fatal(err)
		}
	}
	if e, s := h.count(`EXAMINE "a"`), h.count(`SELECT "a"`); e != 1 || s != 1 {
		t.Errorf("%d EXAMINE, %d SELECT", e, s)
	}
}

func TestPoolSlowLeavesOne(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, func(cfg *PoolConfig) { cfg.Size = 3 })
	ctx := testContext(t)
	var running atomic.Int32
	release := make(chan struct{})
	entered := make(chan struct{}, 3)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			err := p.Do(ctx, "", &DoOptions{Slow: true}, func(*Conn) error {
				if n := running.Add(1); n > 2 {
					t.Errorf("%d slow requests at once", n)
				}
				defer running.Add(-1)
				entered <- struct{}{}
				<-release
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	defer wg.Wait()
	defer close(release)
	for range 2 {
		select {
		case <-entered:
		case <-ctx.Done():
			t.Fatal("two slow requests do not run at once")
		}
	}
	for range 5 {
		if err := p.Do(ctx, "", nil, noop(t)); err != nil {
			t.Fatalf("a request beside the slow ones: %v", err)
		}
	}
}

func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, func(cfg *PoolConfig) { cfg.Size = 2 })
	ctx := testContext(t)
	var inUse, most atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := p.Do(ctx, "a", nil, func(c *Conn) error {
				n := inUse.Add(1)
				defer inUse.Add(-1)
				for {
					if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
						break
					}
				}
				return c.Noop(ctx)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 || h.dials.Load() > 2 {
		t.Errorf("%d at a time, %d connections", most.Load(), h.dials.Load())
	}
}

func TestPoolWaitersEndWithTheirContext(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, func(cfg *PoolConfig) { cfg.Size = 1 })
	err := p.Do(testContext(t), "", nil, func(*Conn) error {
		ctx, cancel := context.WithTimeout(testContext(t), 10*time.Millisecond)
		defer cancel()
		return p.Do(ctx, "", nil, noop(t))
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A connection that the server closed while it was at rest is noticed without
// a round trip, or else the request is sent once more.
// A wait that is bounded ends with an error that tells it from the end of its
// context, whether the pool or the host has no connection to spare.
func TestPoolWaitIsBounded(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	limits := NewHostLimits(1, 100)
	one := h.pool(t, func(cfg *PoolConfig) { cfg.Size, cfg.Limits = 1, limits })
	other := h.pool(t, func(cfg *PoolConfig) { cfg.Limits = limits })
	ctx := testContext(t)
	err := one.Do(ctx, "", nil, func(*Conn) error {
		for name, p := range map[string]*Pool{"pool": one, "host": other} {
			var busy *BusyError
			err := p.Do(ctx, "", &DoOptions{Wait: time.Millisecond}, noop(t))
			if !errors.As(err, &busy) || busy.Waited != time.Millisecond {
				t.Errorf("%s: %v", name, err)
			}
			canceled, cancel := context.WithCancel(ctx)
			cancel()
			if err := p.Do(canceled, "", &DoOptions{Wait: testTimeout}, noop(t)); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want that the context has ended", name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPoolOutlivesRestart(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	for i := range 10 {
		if err := p.Do(ctx, "a", nil, noop(t)); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		h.breakAll()
	}
}

func TestPoolRetriesOnce(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	if err := p.Do(ctx, "", nil, noop(t)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		opts *DoOptions
		fn   func(c *Conn, call int) error
		want int
	}{
		{"before any answer", nil, func(c *Conn, call int) error {
			if call == 1 {
				h.breakAll()
			}
			return c.Noop(ctx)
		}, 2},
		{"after an answer", nil, func(c *Conn, _ int) error {
			if err := c.Noop(ctx); err != nil {
				return err
			}
			h.breakAll()
			return c.Noop(ctx)
		}, 1},
		{"not a request that must be sent once", &DoOptions{Once: true}, func(c *Conn, _ int) error {
			h.breakAll()
			return c.Noop(ctx)
		}, 1},
	} {
		// The one before may have left no connection at rest.
		if err := p.Do(ctx, "", nil, noop(t)); err != nil {
			t.Fatal(err)
		}
		calls := 0
		err := p.Do(ctx, "", tc.opts, func(c *Conn) error {
			calls++
			return tc.fn(c, calls)
		})
		if calls != tc.want || (err == nil) != (tc.want == 2) {
			t.Errorf("%s: %d calls, want %d, error %v", tc.name, calls, tc.want, err)
		}
	}
}

func TestPoolChecksWhatMustBeSentOnce(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	idle := func(*Conn) error { return nil }
	for range 2 {
		if err := p.Do(ctx, "", &DoOptions{Once: true}, idle); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.count("NOOP"); n != 1 {
		t.Errorf("%d NOOP, want 1 for the connection that was reused", n)
	}
}

func TestPoolClosesAfterDisuse(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, func(cfg *PoolConfig) { cfg.Idle = 20 * time.Millisecond })
	ctx := testContext(t)
	err := p.Do(ctx, "", nil, func(*Conn) error { return p.Do(ctx, "", nil, noop(t)) })
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "both connections to be closed", func() bool { return h.count("LOGOUT") == 2 })
}

func TestPoolClose(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	p := h.pool(t, nil)
	ctx := testContext(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := p.Do(ctx, "", nil, func(c *Conn) error {
			close(inside)
			<-leave
			return c.Noop(ctx)
		})
		if err != nil {
			t.Errorf("the request in progress: %v", err)
		}
	})
	<-inside
	wg.Go(func() { p.Close() })
	waittest.For(t, "the pool to refuse", func() bool { return errors.Is(p.Do(ctx, "", nil, noop(t)), ErrPoolClosed) })
	close(leave)
	wg.Wait()
}

func TestHostLimits(t *testing.T) {
	t.Parallel()
	h := newHonest(t)
	limits := NewHostLimits(1, 1000)
	one := h.pool(t, func(cfg *PoolConfig) { cfg.Limits = limits; cfg.Idle = 10 * time.Millisecond })
	two := h.pool(t, func(cfg *PoolConfig) { cfg.Limits = limits })
	err := one.Do(testContext(t), "", nil, func(*Conn) error {
		ctx, cancel := context.WithTimeout(testContext(t), 10*time.Millisecond)
		defer cancel()
		return two.Do(ctx, "", nil, noop(t))
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	// The slot comes back when the first pool closes its connection at rest.
	if err := two.Do(testContext(t), "", nil, noop(t)); err != nil {
		t.Error(err)
	}
}

func TestHostLimitsForget(t *testing.T) {
	t.Parallel()
	l := NewHostLimits(2, 1000)
	place, err := l.Acquire(testContext(t), "Mail.Example.org", false)
	if err != nil {
		t.Fatal(err)
	}
	place.Release()
	place.Release() // a second time does nothing
	waittest.For(t, "the host to be forgotten", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.hosts) == 0
	})
}

func TestDovecotPoolOutlivesKick(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	for _, mode := range []TLSMode{ModePlaintext, ModeTLS} {
		p := NewPool(PoolConfig{Config: func(context.Context) (Config, error) { return dovecotConfig(srv, username, mode), nil }})
		for range 3 {
			err := p.Do(testContext(t), "INBOX", nil, func(c *Conn) error {
				_, err := c.Page(testContext(t), &PageOptions{Size: 5, Fetch: flagsOnly()})
				return err
			})
			if err != nil {
				t.Errorf("%v: %v", mode, err)
			}
			srv.Kick(t, username)
			waittest.For(t, "the connection to break", func() bool {
				closed, pending, ok := probe(p.idle[0].t.raw)
				return closed || pending || !ok
			})
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
