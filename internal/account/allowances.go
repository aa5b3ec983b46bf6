package account

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Allowances are what accounts may do only where whoever runs Postern has said so:
// nobody who can merely register an account can switch protection off.
type Allowances struct {
	// Unverified are servers whose certificates are not checked, unless the
	// account itself says whom it trusts.
	Unverified []Server
	// Plaintext are servers, and PlaintextNetworks addresses, to which passwords
	// may go in clear. This machine is always one of them.
	Plaintext         []Server
	PlaintextNetworks []netip.Prefix
}

// Server is a server as it is named in an account. Port 0 is every port.
type Server struct {
	Host string
	Port int
}

// String writes the server as [ParseServer] reads it.
func (s Server) String() string {
	if s.Port == 0 {
		return s.Host
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// ParseServer reads HOST or HOST:PORT, an IPv6 address with a port in brackets.
func ParseServer(text string) (Server, error) {
	if validHost(text) {
		return Server{Host: text}, nil
	}
	host, digits, err := net.SplitHostPort(text)
	port, portErr := strconv.ParseUint(digits, 10, 16)
	if err != nil || portErr != nil || port == 0 || !validHost(host) {
		return Server{}, fmt.Errorf("%q is no server such as mail.example.com or mail.example.com:993", text)
	}
	return Server{Host: host, Port: int(port)}, nil
}

// is reports whether an endpoint is at the server.
func (s Server) is(e *Endpoint) bool {
	return (s.Port == 0 || s.Port == e.Port) && sameHost(s.Host, e.Host)
}

// sameHost compares names as DNS does, and addresses by their value.
func sameHost(a, b string) bool {
	addrA, errA := netip.ParseAddr(a)
	addrB, errB := netip.ParseAddr(b)
	if errA == nil && errB == nil {
		return addrA.Unmap() == addrB.Unmap()
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

func listed(servers []Server, e *Endpoint) bool {
	return slices.ContainsFunc(servers, func(s Server) bool { return s.is(e) })
}

// PlaintextError says that an account asks for no TLS and that its server is none
// to which passwords may go in clear. Nothing was sent.
type PlaintextError struct {
	Endpoint Server
	// Remote is the address that was connected to.
	Remote string
}

func (e *PlaintextError) Error() string {
	return fmt.Sprintf("tls_mode is PLAINTEXT, so the password would cross the network to %s (%s) in clear: set it to TLS or "+
		"STARTTLS, or have whoever runs Postern list the server in --allow-plaintext", e.Endpoint, e.Remote)
}

// checkPlaintext decides on the address that the endpoint's name led to.
func (a *Allowances) checkPlaintext(e *Endpoint, remote net.Addr) error {
	if listed(a.Plaintext, e) {
		return nil
	}
	if tcp, ok := remote.(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap().WithZone("")
		if addr.IsLoopback() || slices.ContainsFunc(a.PlaintextNetworks, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return nil
		}
	}
	return &PlaintextError{Endpoint: Server{Host: e.Host, Port: e.Port}, Remote: remote.String()}
}
