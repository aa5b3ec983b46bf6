package gateway

import (
	"net/netip"
	"slices"
	"strings"
)

// maxForwarded bounds how many hops of X-Forwarded-For are looked at.
const maxForwarded = 20

// clientAddress is where a request comes from: the remote end of its connection,
// or what trusted proxies say of that. Each proxy adds the address that it was
// called from at the end, so the last one that is none of theirs is the client's;
// all before it is hearsay. The zero address says that it cannot be known.
func (l *Limits) clientAddress(remote string, forwarded []string) netip.Addr {
	from := remoteAddress(remote)
	if !from.IsValid() || l.AddressesHidden && len(l.TrustedProxies) == 0 {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for _, hop := range slices.Backward(hops[max(0, len(hops)-maxForwarded):]) {
		if !trusted(l.TrustedProxies, from) {
			break
		}
		next := remoteAddress(strings.TrimSpace(hop))
		if !next.IsValid() {
			break
		}
		from = next
	}
	return from
}

// remoteAddress reads an address with or without a port.
func remoteAddress(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func trusted(proxies []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// addressKey is what counts as one address: in IPv6 the network of 64 bits, since
// whoever has one has all of it.
func addressKey(addr netip.Addr) string {
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}
