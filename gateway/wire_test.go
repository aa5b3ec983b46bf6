package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wire leads to an IMAP server and keeps all that is sent to it, by connection.
type wire struct {
	port int

	mu      sync.Mutex
	streams []*bytes.Buffer
}

func openWire(t *testing.T, server string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{port: listener.Addr().(*net.TCPAddr).Port}
	var links sync.WaitGroup
	links.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				continue
			}
			stream := &bytes.Buffer{}
			w.mu.Lock()
			w.streams = append(w.streams, stream)
			w.mu.Unlock()
			stop := context.AfterFunc(t.Context(), func() { near.Close() })
			links.Go(func() {
				defer stop()
				_, _ = io.Copy(far, io.TeeReader(near, &guarded{w: w, to: stream}))
				far.Close()
			})
			links.Go(func() {
				_, _ = io.Copy(near, far)
				near.Close()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		links.Wait()
	})
	return w
}

// guarded writes into a stream of a wire.
type guarded struct {
	w  *wire
	to *bytes.Buffer
}

func (g *guarded) Write(p []byte) (int, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	return g.to.Write(p)
}

// commands counts the commands that were sent, and tells what is not one of them as
// Postern sends them: in order, each on a line of its own but for literals.
func (w *wire) commands() (n int, faults []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, stream := range w.streams {
		commands, fault := commandsOf(stream.Bytes())
		n += commands
		if fault != "" {
			faults = append(faults, fault)
		}
	}
	return n, faults
}

var (
	literalEnd   = regexp.MustCompile(`\{(\d+)\+?\}\r\n$`)
	quotedString = regexp.MustCompile(`"(\\["\\]|[^"\\\r\n])*"`)
	base64Line   = regexp.MustCompile(`^[A-Za-z0-9+/]*=*\r\n$`)
)

// commandsOf reads what a client has sent, by the grammar of RFC 9051 and with no
// code of Postern's.
func commandsOf(stream []byte) (n int, fault string) {
	r := bufio.NewReader(bytes.NewReader(stream))
	last := ""
	for {
		command, err := nextCommand(r)
		if err != nil {
			return n, "" // the connection was cut here
		}
		if command == "DONE\r\n" || strings.Contains(last, " AUTHENTICATE ") && base64Line.MatchString(command) {
			continue
		}
		n++
		last = command
		tag, rest, _ := strings.Cut(command, " ")
		bare := quotedString.ReplaceAllString(rest, "")
		line := strings.TrimSuffix(bare, "\r\n")
		switch {
		case tag != "P"+strconv.Itoa(n):
			return n, fmt.Sprintf("command %d is %q", n, command)
		case line == bare, strings.ContainsAny(line, "\r\n\x00\""):
			return n, fmt.Sprintf("command %d is not on one line, or its strings have no end: %q", n, command)
		case strings.Contains(line, marker):
			return n, fmt.Sprintf("command %d has something outside of its strings: %q", n, command)
		}
	}
}

// nextCommand reads one command without its literals.
func nextCommand(r *bufio.Reader) (string, error) {
	var command strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		m := literalEnd.FindStringSubmatchIndex(line)
		if m == nil {
			command.WriteString(line)
			return command.String(), nil
		}
		command.WriteString(line[:m[0]])
		size, err := strconv.ParseInt(line[m[2]:m[3]], 10, 64)
		if err != nil {
			return "", err
		}
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return "", err
		}
	}
}

func TestReadCommandsSeesInjections(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]bool{
		"P1 CAPABILITY\r\nP2 LOGIN \"a\" \"b\\\"c\"\r\n":               true,
		"P1 AUTHENTICATE PLAIN\r\nAGEAYg==\r\nP2 IDLE\r\nDONE\r\nP3 X": true,
		"P1 CREATE {6+}\r\na\r\nb\r\n\r\nP2 NOOP\r\n":                  true,
		"P1 CREATE \"a\"\r\n" + marker + " NOOP\r\n":                   false,
		"P1 CREATE \"a\r\nP2 NOOP\r\n":                                 false,
		"P1 CREATE a\nP2 NOOP\r\n":                                     false,
		"P1 STORE 1 FLAGS (a) " + marker + "\r\n":                      false,
		"P1 SELECT \"a\" \"" + marker + "\"\r\nP3 NOOP\r\n":            false,
		"P1 CREATE \"a\x00\"\r\nP2 SELECT a\x00b\r\n":                  false,
	} {
		if _, fault := commandsOf([]byte(stream)); (fault == "") != want {
			t.Errorf("%q: fault %q", stream, fault)
		}
	}
}
