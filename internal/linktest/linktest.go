// Package linktest puts a network link that misbehaves between a client and a
// server of a test.
package linktest

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Link is a TCP proxy that can be cut, and frozen: then it swallows everything
// while its connections look alive. Its methods may be called concurrently.
type Link struct {
	listener net.Listener
	filter   func() Filter

	mu       sync.Mutex
	target   string
	conns    map[net.Conn]bool
	accepted int
	thawed   chan struct{} // closed unless the link is frozen
}

// Filter reads along with one connection, line by line, and may change lines.
// Each function gets a line with its end and returns what is passed on. The two
// are called from different goroutines.
type Filter struct {
	ToServer, ToClient func(line []byte) []byte
}

// New makes a link to an address, until the test ends. filter makes the filter
// of each connection; nil passes everything on as it is.
func New(tb testing.TB, target string, filter func() Filter) *Link {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &Link{listener: listener, filter: filter, target: target, conns: map[net.Conn]bool{}, thawed: make(chan struct{})}
	close(l.thawed)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { l.serve(conn) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		l.Thaw()
		l.Cut()
		serving.Wait()
	})
	return l
}

// Port is where the link begins, on 127.0.0.1.
func (l *Link) Port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// Dial connects to the link, whatever the address.
func (l *Link) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port())))
}

// Accepted counts the connections that were made to the link.
func (l *Link) Accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// Lead makes new connections go to another target.
func (l *Link) Lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// Cut closes all connections.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// Freeze holds back all that is sent, until Thaw.
func (l *Link) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.thawed = make(chan struct{})
}

// Thaw lets through what was held back, and what comes.
func (l *Link) Thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.thawed:
	default:
		close(l.thawed)
	}
}

func (l *Link) serve(near net.Conn) {
	l.mu.Lock()
	target := l.target
	l.conns[near] = true
	l.accepted++
	l.mu.Unlock()
	far, err := net.Dial("tcp", target)
	if err == nil {
		l.mu.Lock()
		l.conns[far] = true
		l.mu.Unlock()
		var filter Filter
		if l.filter != nil {
			filter = l.filter()
		}
		var both sync.WaitGroup
		both.Go(func() { l.pass(far, near, filter.ToServer) })
		both.Go(func() { l.pass(near, far, filter.ToClient) })
		both.Wait()
		_ = far.Close()
	}
	_ = near.Close()
	l.mu.Lock()
	delete(l.conns, near)
	delete(l.conns, far)
	l.mu.Unlock()
}

// pass passes on what comes, and ends both connections with the first.
func (l *Link) pass(to, from net.Conn, filter func(line []byte) []byte) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	read := func() ([]byte, error) {
		n, err := from.Read(buf)
		return buf[:n], err
	}
	if filter != nil {
		lines := bufio.NewReader(from)
		read = func() ([]byte, error) {
			line, err := lines.ReadBytes('\n')
			return filter(line), err
		}
	}
	for {
		data, err := read()
		if err != nil {
			return
		}
		l.mu.Lock()
		thawed := l.thawed
		l.mu.Unlock()
		<-thawed
		if _, err := io.Writer(to).Write(data); err != nil {
			return
		}
	}
}
