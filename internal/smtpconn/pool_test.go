package smtpconn_test

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

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
	"github.com/postern-mail/postern/internal/smtptest"
)

func newPool(t *testing.T, server *smtptest.Server, size int, idle time.Duration) *smtpconn.Pool {
	t.Helper()
	pool := smtpconn.NewPool(smtpconn.PoolConfig{
		Config: func(context.Context) (smtpconn.Config, error) {
			return configOf(server, imapconn.ModePlaintext), nil
		},
		Size: size, IdleTimeout: idle,
	})
	t.Cleanup(pool.Close)
	return pool
}

func send(ctx context.Context, pool *smtpconn.Pool) error {
	return pool.Do(ctx, func(c *smtpconn.Conn) error {
		_, err := c.Send(ctx, message(hello, "bob@example.com"))
		return err
	})
}

func TestPoolReusesConnections(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{})
	pool := newPool(t, server, 2, time.Minute)
	for range 5 {
		if err := send(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Sessions(); n != 1 {
		t.Errorf("%d sessions for messages one after the other", n)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := send(t.Context(), pool); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := server.Sessions(); n > 2 {
		t.Errorf("%d sessions, want 2 at the most", n)
	}
	if n := len(server.Deliveries()); n != 13 {
		t.Errorf("%d deliveries", n)
	}
}

func TestPoolReplacesWhatBroke(t *testing.T) {
	t.Parallel()
	cut := true
	server := smtptest.Start(t, smtptest.Config{CutBeforeEnd: func(string) bool { defer func() { cut = false }(); return cut }})
	pool := newPool(t, server, 1, time.Minute)
	if err := send(t.Context(), pool); err == nil {
		t.Fatal("a cut link is no error")
	}
	if err := send(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if n := server.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// A server that ends a connection after a message, by a reply or without, is given the
// next one on another connection.
func TestPoolGetsPastConnectionsThatAreGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]string{"without a word": "", "by 421": "421 4.7.0 enough for one connection\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var delivered atomic.Int32
			config := serveRaw(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				fmt.Fprint(conn, "220 here\r\n")
				for done := false; ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					switch {
					case done:
						fmt.Fprint(conn, leave)
						return
					case strings.HasPrefix(line, "DATA"):
						fmt.Fprint(conn, "354 go on\r\n")
						for err == nil && line != ".\r\n" {
							line, err = r.ReadString('\n')
						}
						delivered.Add(1)
						done = true
					}
					fmt.Fprint(conn, "250 ok\r\n")
				}
			})
			pool := smtpconn.NewPool(smtpconn.PoolConfig{Config: func(context.Context) (smtpconn.Config, error) { return config, nil }, Size: 1, IdleTimeout: time.Minute})
			defer pool.Close()
			for range 3 {
				if err := send(t.Context(), pool); err != nil {
					t.Fatal(err)
				}
			}
			if n := delivered.Load(); n != 3 {
				t.Errorf("%d messages were delivered", n)
			}
		})
	}
}

func TestPoolClosesWhatIsUnused(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{})
	pool := newPool(t, server, 1, time.Millisecond)
	deadline := time.Now().Add(time.Minute)
	for server.Sessions() < 2 {
		if err := send(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection lives on for ever")
		}
	}
}

func TestPoolWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{})
	pool := newPool(t, server, 1, time.Minute)
	err := pool.Do(t.Context(), func(*smtpconn.Conn) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return send(ctx, pool)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
