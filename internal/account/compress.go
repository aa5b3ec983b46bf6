package account

import (
	"net/netip"
	"strings"
)

// worthCompressing reports whether connections to a host are to be compressed
// (RFC 4978). Between machines next to each other the network carries more than
// the server can compress: a Dovecot on the same machine delivers an attachment
// four times as fast without. A name says nothing of where the host is, and
// the usual place is far away.
func worthCompressing(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err != nil || !addr.IsLoopback() && !addr.IsPrivate() && !addr.IsLinkLocalUnicast()
}
