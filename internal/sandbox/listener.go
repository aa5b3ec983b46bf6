package sandbox

import (
	"context"
	"net"
	"sync"
)

const loopback = "127.0.0.1"

// A listener on loopback knows the connections it has accepted, to close them.
// Neither go-imap's nor go-smtp's server knows of one before its goroutine has
// run, and a client that says nothing would keep such a one open.
type listener struct {
	net.Listener

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

func listen(ctx context.Context) (*listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	return &listener{Listener: l, conns: make(map[*conn]struct{})}, nil
}

func (l *listener) port() int { return l.Addr().(*net.TCPAddr).Port }

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	tracked := &conn{Conn: c, listener: l}
	l.conns[tracked] = struct{}{}
	return tracked, nil
}

// Close closes the listener and every connection that it accepted.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.conns {
		c.Conn.Close()
	}
	return l.Listener.Close()
}

type conn struct {
	net.Conn
	listener *listener
}

func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
