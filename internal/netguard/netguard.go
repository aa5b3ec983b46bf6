// Package netguard keeps connections that users ask for away from networks
// that users have no business in.
//
// Whoever may register a mailbox or a webhook chooses a host that the gateway
// connects to from inside its own network. Without a guard that reaches
// databases, cloud metadata services and the gateway itself. The guard looks at
// the address of each connection attempt after name resolution, so neither DNS
// nor a redirect leads around it.
package netguard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// RefusedError says that an address lies in a network that the guard closes.
type RefusedError struct {
	Addr netip.Addr
	// Range says what the network is for.
	Range string
}

// Error leaves the address out: where it came from a name, whoever asked is not to
// learn what names mean within the network.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("its address is %s, which is not reachable unless --allow-networks has a range that holds it", e.Range)
}

// Guard decides which addresses may be connected to: all that are public, and
// those in Allow. It must not be changed once it is in use.
type Guard struct {
	// Allow lists further networks. A range that IANA reserves is open only
	// when it is named here, in its own form: allowing 10.0.0.0/8 does not open
	// its NAT64 or 6to4 images.
	Allow []netip.Prefix
	// Resolver looks names up; nil means that of the system.
	Resolver *net.Resolver
}

// Check returns a [*RefusedError] for an address that may not be connected to.
func (g *Guard) Check(addr netip.Addr) error {
	// An IPv4-mapped address reaches the IPv4 one, and a zone only chooses the
	// interface.
	addr = addr.Unmap().WithZone("")
	for _, prefix := range g.Allow {
		if prefix.Contains(addr) {
			return nil
		}
	}
	for _, special := range specialRanges {
		if special.prefix.Contains(addr) {
			return &RefusedError{Addr: addr, Range: special.purpose}
		}
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return &RefusedError{Addr: addr, Range: "not a public IPv6 address"}
	}
	if !addr.IsValid() {
		return &RefusedError{Addr: addr, Range: "no IP address"}
	}
	return nil
}

// Dialer returns a function that connects like [net.Dialer] within timeout, and
// only to addresses that Check lets through. Its errors wrap [*RefusedError].
func (g *Guard) Dialer(timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:  timeout,
		Resolver: g.Resolver,
		// Called between the choice of the address and the connection to it.
		ControlContext: func(_ context.Context, _, addr string, _ syscall.RawConn) error {
			resolved, err := netip.ParseAddrPort(addr)
			if err != nil {
				return fmt.Errorf("address %q: %w", addr, err)
			}
			return g.Check(resolved.Addr())
		},
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if lookup, ok := errors.AsType[*net.DNSError](err); ok {
			// Which name server the machine asks is not for those who read this.
			anonymous := *lookup
			anonymous.Server = ""
			return nil, &net.OpError{Op: "dial", Net: network, Err: &anonymous}
		}
		return conn, err
	}
}

// Transport returns an HTTP transport that connects through Dialer. It uses no
// proxy: the guard would see the proxy's address in place of the target's.
func (g *Guard) Transport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:         g.Dialer(timeout),
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: timeout,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		IdleConnTimeout:     time.Minute,
		MaxIdleConns:        32,
		// Answers of token endpoints are short; headers are bounded as well.
		MaxResponseHeaderBytes: 64 << 10,
	}
}
