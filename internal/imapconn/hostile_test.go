package imapconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// hostile starts a server for any number of connections, each served by f. It
// ends with the test.
func hostile(tb testing.TB, f func(conn net.Conn, r *bufio.Reader)) Config {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			f(conn, bufio.NewReader(conn))
			stop()
			conn.Close()
		}
	}()
	tb.Cleanup(func() {
		cancel()
		l.Close()
		<-done
	})
	host, port := splitAddr(tb, l.Addr().String())
	return Config{
		Host: host, Port: port, TLSMode: ModePlaintext,
		Auth:           Auth{Username: "ann", Password: "secret"},
		CommandTimeout: 100 * time.Millisecond,
	}
}

// attack is what a server does in place of the answer to one command. It may
// end the connection, by returning.
type attack func(w io.Writer, tag string)

// against serves a session that is honest up to a command, and then attacks.
func against(step string, do attack) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		if step == "greeting" {
			do(conn, "*")
			_, _ = io.Copy(io.Discard, r)
			return
		}
		fmt.Fprint(conn, "* OK hello\r\n")
		serve(conn, r, step, do)
	}
}

// serve answers commands honestly up to one, and then attacks.
func serve(conn net.Conn, r *bufio.Reader, step string, do attack) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb, _, _ := strings.Cut(strings.TrimPrefix(rest, "UID "), " ")
		if verb == step {
			do(conn, tag)
			_, _ = io.Copy(io.Discard, r)
			return
		}
		switch verb {
		case "CAPABILITY":
			fmt.Fprint(conn, "* CAPABILITY IMAP4rev1 IDLE ID NAMESPACE\r\n")
		case "SELECT":
			fmt.Fprint(conn, "* 9 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n")
		}
		fmt.Fprintf(conn, "%s OK done\r\n", tag)
	}
}

// session goes through all steps.
func session(ctx context.Context, cfg Config) error {
	c, err := Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.List(ctx, nil); err != nil {
		return err
	}
	if _, err := c.Select(ctx, "INBOX", nil); err != nil {
		return err
	}
	if _, err := c.Search(ctx, &SearchCriteria{}, nil); err != nil {
		return err
	}
	opts := plain(imap.FetchOptions{Envelope: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	opts.Body = func(_ *FetchMessage, s *BodySection) error {
		if s.Literal == nil {
			return nil
		}
		_, err := io.Copy(io.Discard, s.Literal)
		return err
	}
	if err := c.Fetch(ctx, imap.UIDSet{{Start: 1}}, opts, func(*FetchMessage) error { return nil }); err != nil {
		return err
	}
	_, err = c.Idle(ctx, time.Second)
	return err
}

// isTyped reports whether an error is one of those that the package documents.
func isTyped(err error) bool {
	for _, target := range []any{
		new(*Error), new(*AuthError), new(*ByeError), new(*ProtocolError), new(*TimeoutError), new(*NetworkError), new(*TLSError),
	} {
		if errors.As(err, target) {
			return true
		}
	}
	return false
}

var steps = []string{"greeting", "CAPABILITY", "LOGIN", "ID", "LIST", "SELECT", "SEARCH", "FETCH", "IDLE"}

// repeat writes text again and again, size bytes in all.
func repeat(w io.Writer, text string, size int) {
	block := []byte(strings.Repeat(text, max(1, 32<<10/len(text))))
	for size > 0 {
		n, err := w.Write(block[:min(len(block), size)])
		if err != nil {
			return
		}
		size -= n
	}
}

// TestHostile has a server attack at every step of a session. Each attack must
// end in a typed error, within the silence allowed, and cost little memory.
// It does not run beside other tests, for it measures the heap.
func TestHostile(t *testing.T) { //nolint:paralleltest // measures the heap of the process
	const budget = 48 << 20                  // the limits allow a response of 16 MiB, in a buffer that doubles
	for name, do := range map[string]attack{ //nolint:paralleltest // likewise
		"silence":           func(io.Writer, string) {},
		"close":             func(w io.Writer, _ string) { w.(net.Conn).Close() },
		"bye":               func(w io.Writer, _ string) { fmt.Fprint(w, "* BYE [UNAVAILABLE] go away\r\n") },
		"half a line":       func(w io.Writer, _ string) { fmt.Fprint(w, "* OK [CAPAB") },
		"wrong tag":         func(w io.Writer, _ string) { fmt.Fprint(w, "WRONG999 OK done\r\n") },
		"2 MiB of brackets": func(w io.Writer, _ string) { fmt.Fprint(w, "* 1 FETCH (BODYSTRUCTURE "); repeat(w, "(", 2<<20) },
		"an endless line":   func(w io.Writer, _ string) { fmt.Fprint(w, "* OK "); repeat(w, "x", 20<<20) },
		"an endless list":   func(w io.Writer, _ string) { fmt.Fprint(w, "* LIST ("); repeat(w, `\a `, 20<<20) },
		"a literal of 4 GiB": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {4294967296}\r\n")
			repeat(w, "x", 1<<20)
		},
		"a literal of 4 GiB in an envelope": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (ENVELOPE (NIL {4294967296}\r\n")
			repeat(w, "x", 1<<20)
		},
		"silence in a literal": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {1000}\r\nxxx")
		},
		"close in a literal": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {1000}\r\nxxx")
			w.(net.Conn).Close()
		},
		"bye in a literal": func(w io.Writer, _ string) {
			fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {10}\r\nxxx\r\n* BYE [LIMIT] enough\r\n")
		},
		"nonsense without end":      func(w io.Writer, _ string) { repeat(w, "((( nonsense\r\n", 16<<20) },
		"news without end":          func(w io.Writer, _ string) { repeat(w, "* 1 EXISTS\r\n* 1 EXPUNGE\r\n", 16<<20) },
		"alerts without end":        func(w io.Writer, _ string) { repeat(w, "* OK [ALERT] "+strings.Repeat("y", 100)+"\r\n", 20<<20) },
		"blank lines without end":   func(w io.Writer, _ string) { repeat(w, "\r\n", 20<<20) },
		"continuations without end": func(w io.Writer, _ string) { repeat(w, "+ \r\n", 16<<20) },
		"scattered UIDs":            func(w io.Writer, _ string) { scattered(w) },
		"flags without end":         func(w io.Writer, _ string) { fmt.Fprint(w, "* 1 FETCH (UID 1 FLAGS ("); repeat(w, "a ", 20<<20) },
		"capabilities, endless":     func(w io.Writer, _ string) { fmt.Fprint(w, "* CAPABILITY"); repeat(w, " X-Y", 20<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			at := steps
			if strings.Contains(name, "end") || strings.HasPrefix(name, "scattered") {
				at = []string{"greeting", "FETCH"} // much text, the same everywhere
			}
			for _, step := range at {
				cfg := hostile(t, against(step, do))
				peak := peakHeap(func() {
					err := session(testContext(t), cfg)
					if err == nil || !isTyped(err) {
						t.Errorf("at %s: error %T %v", step, err, err)
					}
				})
				if peak > budget {
					t.Errorf("at %s: %d KiB of heap", step, peak>>10)
				}
			}
		})
	}
}

// scattered sends numbers that no range can hold together.
func scattered(w io.Writer) {
	b := []byte("* SEARCH")
	for n := int64(1); n < 8_000_000; n += 2 {
		b = strconv.AppendInt(append(b, ' '), n, 10)
		if len(b) > 64<<10 {
			if _, err := w.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
	_, _ = w.Write(b)
}

// peakHeap runs f and returns by how much the heap in use grew meanwhile, as
// far as sampling shows.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var base, now runtime.MemStats
	runtime.ReadMemStats(&base)
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	var peak uint64
	for {
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > base.HeapAlloc {
			peak = max(peak, now.HeapAlloc-base.HeapAlloc)
		}
		select {
		case <-done:
			return peak
		case <-ticker.C:
		}
	}
}

// A context ends a session at every step at which a server can be silent.
func TestHostileCancel(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			cfg := hostile(t, against(step, func(w io.Writer, _ string) {
				if step == "IDLE" {
					fmt.Fprint(w, "+ idling\r\n")
				}
				close(reached)
			}))
			cfg.CommandTimeout = testTimeout // the context must be quicker
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			go func() { <-reached; cancel() }()
			if err := session(ctx, cfg); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}
