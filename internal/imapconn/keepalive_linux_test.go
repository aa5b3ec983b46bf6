package imapconn

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wrapped is a connection as callers wrap it to count it.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// Each connection has the operating system's own watch on the link.
func TestLinkIsKeptAlive(t *testing.T) {
	t.Parallel()
	s := scripted(t, "S: * PREAUTH [CAPABILITY IMAP4rev1] hello\nignore")
	cfg := s.config()
	cfg.LinkTimeout = 90 * time.Second
	var raw *net.TCPConn
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		raw = conn.(*net.TCPConn)
		return wrapped{wrapped{conn}}, nil
	}
	c, err := Dial(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for name, option := range map[string]struct{ level, name, want int }{
		"SO_KEEPALIVE":     {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":     {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 30},
		"TCP_KEEPINTVL":    {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 10},
		"TCP_KEEPCNT":      {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
		"TCP_USER_TIMEOUT": {syscall.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000},
	} {
		if got := socketOption(t, raw, option.level, option.name); got != option.want {
			t.Errorf("%s is %d, want %d", name, got, option.want)
		}
	}
}

func socketOption(t *testing.T, conn *net.TCPConn, level, name int) (value int) {
	t.Helper()
	control, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := control.Control(func(fd uintptr) {
		value, optErr = unix.GetsockoptInt(int(fd), level, name)
	}); err != nil {
		t.Fatal(err)
	}
	if optErr != nil {
		t.Fatal(optErr)
	}
	return value
}
