package imapconn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// testTimeout bounds every test's waiting; nothing should come near it.
const testTimeout = 10 * time.Second

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	tb.Cleanup(cancel)
	return ctx
}

// scripted starts a server for one connection that follows a transcript:
//
//	S: text     sends a line
//	S| text     sends text without a line end
//	C: text     expects a line, such as "C: $1 NOOP"; $1 stands for a tag, which
//	            is learned where it is first met
//	close       closes the connection
//	ignore      reads what the client sends until it closes
//
// Within S lines \r, \n, \0, \xff and \xe4 are as in Go. The test fails if the client
// says anything else, and waits for the transcript to end.
func scripted(tb testing.TB, transcript string) *scriptServer {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &scriptServer{tb: tb, listener: l, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s.play(conn, transcript)
	}()
	tb.Cleanup(func() {
		l.Close()
		select {
		case <-s.done:
		case <-time.After(testTimeout):
			tb.Error("the transcript did not end")
		}
	})
	return s
}

type scriptServer struct {
	tb       testing.TB
	listener net.Listener
	done     chan struct{}
	writes   atomic.Int32 // of the client
}

// config returns a Config that leads to the server.
func (s *scriptServer) config() Config {
	host, port := splitAddr(s.tb, s.listener.Addr().String())
	return Config{
		Host: host, Port: port, TLSMode: ModePlaintext,
		Auth:           Auth{Username: "ann", Password: "secret"},
		CommandTimeout: testTimeout,
		Dial:           countWrites(&s.writes),
	}
}

// countingConn counts the writes that reach the network.
type countingConn struct {
	net.Conn
	writes *atomic.Int32
}

// countWrites dials like a plain dialer and counts the writes.
func countWrites(writes *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countingConn{Conn: conn, writes: writes}, nil
	}
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func splitAddr(tb testing.TB, addr string) (string, int) {
	tb.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	return tcp.IP.String(), tcp.Port
}

func (s *scriptServer) play(conn net.Conn, transcript string) {
	r := bufio.NewReader(conn)
	tags := make(map[string]string)
	for line := range strings.Lines(transcript) {
		line = strings.TrimRight(strings.TrimLeft(line, " \t"), "\r\n")
		verb, text, _ := strings.Cut(line, " ")
		_ = conn.SetDeadline(time.Now().Add(testTimeout))
		switch verb {
		case "":
		case "S:":
			_, _ = conn.Write([]byte(expand(text, tags) + "\r\n"))
		case "S|":
			_, _ = conn.Write([]byte(expand(text, tags)))
		case "C:":
			got, err := r.ReadString('\n')
			if err != nil {
				s.tb.Errorf("waiting for %q: %v (got %q)", text, err, got)
				return
			}
			if !matches(text, strings.TrimRight(got, "\r\n"), tags) {
				s.tb.Errorf("got  %q\nwant %q", got, text)
				return
			}
		case "close":
			return
		case "ignore":
			_, _ = io.Copy(io.Discard, r)
			return
		default:
			s.tb.Errorf("bad transcript line %q", line)
		}
	}
	// The client closes, unless a test ends without: then the test does.
	_ = conn.SetReadDeadline(time.Now().Add(testTimeout))
	if got, err := r.ReadString('\n'); err == nil && !strings.Contains(got, "LOGOUT") {
		s.tb.Errorf("unexpected %q behind the transcript", got)
	}
}

func expand(text string, tags map[string]string) string {
	for name, tag := range tags {
		text = strings.ReplaceAll(text, name, tag)
	}
	text = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00", `\xff`, "\xff", `\xe4`, "\xe4").Replace(text)
	return text
}

// matches compares a line with what is expected, and learns its tag.
func matches(want, got string, tags map[string]string) bool {
	if !strings.HasPrefix(want, "$") {
		return want == got
	}
	name, rest, _ := strings.Cut(want, " ")
	tag, gotRest, _ := strings.Cut(got, " ")
	if known, ok := tags[name]; ok && known != tag {
		return false
	}
	tags[name] = tag
	return rest == gotRest
}

// dialScript connects to a scripted server that greets with PREAUTH and the
// capabilities, so that the transcript begins with the first command.
func dialScript(tb testing.TB, caps, transcript string) *Conn {
	tb.Helper()
	c, _ := dialScriptServer(tb, caps, transcript)
	return c
}

func dialScriptServer(tb testing.TB, caps, transcript string) (*Conn, *scriptServer) {
	tb.Helper()
	s := scripted(tb, fmt.Sprintf("S: * PREAUTH [CAPABILITY IMAP4rev1 %s] hello\n%s", caps, transcript))
	c, err := Dial(testContext(tb), s.config())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c, s
}

// selected is a transcript of a SELECT of INBOX with n messages, and selectInbox
// the client's part of it.
func selected(n int) string {
	return fmt.Sprintf(`C: $s SELECT INBOX
		S: * %d EXISTS
		S: * OK [UIDVALIDITY 7] ok
		S: * OK [UIDNEXT 1000] ok
		S: $s OK [READ-WRITE] done
		`, n)
}

func selectInbox(tb testing.TB, c *Conn) {
	tb.Helper()
	if _, err := c.Select(testContext(tb), "INBOX", nil); err != nil {
		tb.Fatal(err)
	}
}
