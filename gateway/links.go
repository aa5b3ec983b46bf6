package gateway

import (
	"container/list"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/limit"
)

const (
	// maxLinkTokens is for how many tokens a connection counts: a proxy's carries
	// calls of many.
	maxLinkTokens = 16
	// A connection over which so many calls were refused within a time is closed:
	// its client does not read what it is told.
	maxRefusals   = 5000
	refusalWindow = 10 * time.Second
	// Beyond a few, refusals over HTTP come after a pause: whoever asks again as soon
	// as they are answered asks less often for it.
	promptRefusals = 20
	refusalPause   = 250 * time.Millisecond
)

// links are the connections that are open, on all listeners.
type links struct {
	limits Limits

	mu sync.Mutex
	// open has them by listener and remote address.
	open map[string]*link
	// addresses counts them by where they come from.
	addresses map[string]int
	// strangers are those over which nobody with a valid token has called yet, the
	// oldest first: they make room for others.
	strangers list.List
}

func newLinks(limits Limits) *links {
	return &links{limits: limits, open: make(map[string]*link), addresses: make(map[string]int)}
}

// link is one connection.
type link struct {
	net.Conn
	links *links
	key   string
	// from counts it by its address, empty where that is not known.
	from  string
	close sync.Once

	mu       sync.Mutex
	stranger *list.Element // nil once it is none; under links.mu
	tokens   []string
	conns    *limit.Places
	closed   bool
	refused  int
	since    time.Time
}

// guardedListener takes no more connections than there may be.
type guardedListener struct {
	net.Listener
	links *links
	name  string
}

// listen puts the limits of connections in front of a listener.
func (l *links) listen(name string, listener net.Listener) net.Listener {
	return &guardedListener{Listener: listener, links: l, name: name}
}

// Accept implements [net.Listener]. One connection too many is closed: before
// the TLS handshake there is no way to say why.
func (g *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if k := g.links.add(g.name, conn); k != nil {
			return k, nil
		}
		_ = conn.Close()
	}
}

// add takes a connection in, or gives nil. Where there are too many in all, the
// one that has been a stranger for the longest makes room.
func (l *links) add(listener string, conn net.Conn) *link {
	k := &link{Conn: conn, links: l, key: listener + " " + conn.RemoteAddr().String()}
	if from := remoteAddress(conn.RemoteAddr().String()); from.IsValid() && !l.behindProxy(from) {
		k.from = addressKey(from)
	}
	victim, ok := l.admit(k)
	if victim != nil {
		_ = victim.Close()
	}
	if !ok {
		return nil
	}
	return k
}

func (l *links) admit(k *link) (victim *link, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.from != "" && l.limits.ConnectionsPerAddress > 0 && l.addresses[k.from] >= l.limits.ConnectionsPerAddress {
		return nil, false
	}
	if l.limits.Connections > 0 && len(l.open) >= l.limits.Connections {
		oldest := l.strangers.Front()
		if oldest == nil {
			return nil, false
		}
		victim, _ = oldest.Value.(*link)
		l.drop(victim)
	}
	l.open[k.key] = k
	k.stranger = l.strangers.PushBack(k)
	if k.from != "" {
		l.addresses[k.from]++
	}
	return victim, true
}

// drop forgets a connection. The caller holds the lock.
func (l *links) drop(k *link) {
	if l.open[k.key] != k {
		return
	}
	delete(l.open, k.key)
	if k.stranger != nil {
		l.strangers.Remove(k.stranger)
		k.stranger = nil
	}
	if k.from == "" {
		return
	}
	if l.addresses[k.from]--; l.addresses[k.from] <= 0 {
		delete(l.addresses, k.from)
	}
}

// find gives the connection of a listener that comes from a remote address, nil
// where there is none, as for calls within the process.
func (l *links) find(listener, remote string) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[listener+" "+remote]
}

// Close implements [net.Conn].
func (k *link) Close() error {
	k.close.Do(func() {
		k.links.mu.Lock()
		k.links.drop(k)
		k.links.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.closed = true
		for _, who := range k.tokens {
			k.conns.Leave(who)
		}
	})
	return k.Conn.Close()
}

// usedBy notes that a token is used over the connection, and reports whether it
// may use one more. A nil link is no connection.
func (k *link) usedBy(who string, conns *limit.Places) bool {
	if k == nil {
		return true
	}
	k.mu.Lock()
	known := slices.Contains(k.tokens, who)
	if !known && len(k.tokens) < maxLinkTokens && !k.closed {
		if !conns.Take(who) {
			k.mu.Unlock()
			return false
		}
		k.conns = conns
		k.tokens = append(k.tokens, who)
	}
	k.mu.Unlock()
	if !known {
		k.links.befriend(k)
	}
	return true
}

// befriend notes that a connection is no stranger's.
func (l *links) befriend(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.stranger != nil {
		l.strangers.Remove(k.stranger)
		k.stranger = nil
	}
}

// refuse notes that a call was refused, and says after which pause its client is to
// be told, where it can be. It closes the connection of who goes on all the same.
// Those of proxies stay open, because others call over them, too.
func (k *link) refuse(now time.Time) (pause time.Duration) {
	if k == nil || k.from == "" {
		return 0
	}
	k.mu.Lock()
	if now.Sub(k.since) > refusalWindow {
		k.since, k.refused = now, 0
	}
	k.refused++
	refused := k.refused
	k.mu.Unlock()
	if refused > maxRefusals {
		_ = k.Close()
	}
	if refused > promptRefusals {
		return refusalPause
	}
	return 0
}

// behindProxy reports whether an address is not that of a client.
func (l *links) behindProxy(from netip.Addr) bool {
	return l.limits.AddressesHidden && len(l.limits.TrustedProxies) == 0 || trusted(l.limits.TrustedProxies, from)
}
