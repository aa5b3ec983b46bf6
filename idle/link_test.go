package idle

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
)

// link is a TCP proxy that can be cut, and frozen: then it swallows everything
// while its connections look alive.
type link struct {
	t        testing.TB
	listener net.Listener

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
	thawed chan struct{} // closed unless the link is frozen
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, listener: listener, target: target, conns: map[net.Conn]bool{}, thawed: make(chan struct{})}
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
	t.Cleanup(func() {
		_ = listener.Close()
		l.thaw()
		l.cut()
		serving.Wait()
	})
	return l
}

func (l *link) port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// jetStream connects to a server through the link, until the test ends.
func (l *link) jetStream(server *natsd.Server) jetstream.JetStream {
	l.t.Helper()
	conn, err := nats.Connect(server.URL().Reveal(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.SetCustomDialer(l), nats.IgnoreDiscoveredServers())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		l.t.Fatal(err)
	}
	return js
}

// Dial connects to the link, whatever the address.
func (l *link) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, net.JoinHostPort("127.0.0.1", strconv.Itoa(l.port())))
}

// lead makes new connections go to another target.
func (l *link) lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// cut closes all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// freeze holds back all that is sent, until thaw.
func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.thawed = make(chan struct{})
}

func (l *link) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.thawed:
	default:
		close(l.thawed)
	}
}

func (l *link) serve(near net.Conn) {
	l.mu.Lock()
	target := l.target
	l.conns[near] = true
	l.mu.Unlock()
	far, err := net.Dial("tcp", target)
	if err == nil {
		l.mu.Lock()
		l.conns[far] = true
		l.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { l.pass(far, near) })
		both.Go(func() { l.pass(near, far) })
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
func (l *link) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		thawed := l.thawed
		l.mu.Unlock()
		<-thawed
		if _, err := io.Writer(to).Write(buf[:n]); err != nil {
			return
		}
	}
}
