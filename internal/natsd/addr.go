package natsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// ListenError says that the address for NATS clients cannot be listened on.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string {
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("another process already listens on %s: stop it, or choose another address with --nats", e.Addr)
	}
	return fmt.Sprintf("cannot listen for NATS clients on %s: %v", e.Addr, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// parseAddr takes HOST:PORT apart and refuses what other machines can reach,
// unless that was asked for.
func parseAddr(addr string, allowRemote bool) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("NATS address %q: give HOST:PORT such as 127.0.0.1:4222", addr)
	}
	number, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("NATS address %q: the port is a number from 0 to 65535", addr)
	}
	port = int(number)
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if host == "localhost" {
		// Not looked up: a resolver has no say in what loopback is.
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && err != nil {
		return "", 0, fmt.Errorf("NATS address %q: the host is an IP address or localhost", addr)
	}
	if !ip.Unmap().IsLoopback() && !allowRemote {
		return "", 0, fmt.Errorf("NATS address %q is open to other machines: the embedded server serves loopback only, "+
			"such as 127.0.0.1:4222; for other machines run a NATS server with TLS and use --nats-url", addr)
	}
	return host, port, nil
}

// probeListen finds out whether the address is free, without keeping it.
func probeListen(ctx context.Context, host string, port int) error {
	addr := net.JoinHostPort(host, strconv.Itoa(max(port, 0)))
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return &ListenError{Addr: addr, Err: err}
	}
	return listener.Close()
}

// clientAddr is where a client on this machine reaches the listener.
func clientAddr(listener net.Addr) string {
	addr := listener.(*net.TCPAddr).AddrPort()
	ip := addr.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(ip, addr.Port()).String()
}
