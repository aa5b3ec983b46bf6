package imapconn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/waittest"
)

// moody starts a server that never answers the login of some, refuses that of others,
// and lets the rest in.
func moody(t *testing.T) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				fmt.Fprint(conn, "* OK [CAPABILITY IMAP4rev1] hello\r\n")
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					tag, _, _ := strings.Cut(line, " ")
					switch {
					case strings.Contains(line, "stuck"):
						_, _ = io.Copy(io.Discard, r)
						return
					case strings.Contains(line, "refused"):
						fmt.Fprintf(conn, "%s NO [AUTHENTICATIONFAILED] no\r\n", tag)
					case strings.Contains(line, "CAPABILITY"):
						fmt.Fprintf(conn, "* CAPABILITY IMAP4rev1\r\n%s OK done\r\n", tag)
					default:
						fmt.Fprintf(conn, "%s OK done\r\n", tag)
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	host, port := splitAddr(t, l.Addr().String())
	return Config{Host: host, Port: port, TLSMode: ModePlaintext, CommandTimeout: time.Hour}
}

// Accounts whose logins are never answered, or refused, and which go on trying, do not
// keep others at the same host from logging in. With the context all that ends.
func TestStuckLoginsHoldUpNobody(t *testing.T) { //nolint:paralleltest // counts the goroutines of the process
	before := runtime.NumGoroutine()
	cfg := moody(t)
	limits := NewHostLimits(0, 2)
	pool := func(username string) *Pool {
		return NewPool(PoolConfig{Limits: limits, Config: func(context.Context) (Config, error) {
			cfg := cfg
			cfg.Auth = Auth{Username: username, Password: "secret"}
			return cfg, nil
		}})
	}
	nothing := func(*Conn) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting sync.WaitGroup
	for i := range 8 {
		p := pool([]string{"stuck", "refused"}[i%2])
		waiting.Go(func() {
			defer p.Close()
			for ctx.Err() == nil {
				if p.Do(ctx, "", nil, nothing) == nil {
					t.Error("a login that is refused or not answered has succeeded")
					return
				}
			}
		})
	}
	waittest.For(t, "all turns to be taken", func() bool {
		limits.mu.Lock()
		defer limits.mu.Unlock()
		h := limits.hosts[cfg.Host]
		return h != nil && h.users == 8 && len(h.logins.free) == 0
	})
	patience, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	for range 3 {
		p := pool("ann")
		if err := p.Do(patience, "", nil, nothing); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		p.Close()
	}
	cancel()
	waiting.Wait()
	waittest.For(t, "the host to be forgotten", func() bool {
		limits.mu.Lock()
		defer limits.mu.Unlock()
		return len(limits.hosts) == 0
	})
	waittest.For(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 }) // the server's own
}
