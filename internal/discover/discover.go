// Package discover finds the IMAP and SMTP servers of an email address.
//
// It asks, in the order in which the answers are to be trusted: a table of large
// providers; the domain's SRV records (RFC 6186, RFC 8314); the domain's own
// configuration for mail programs, over HTTPS; the domain's MX records, for whom of
// the table it is hosted by; and last the usual names, which have to answer.
//
// What is asked may be anybody's, and so is what is answered. No connection is made
// but through [netguard]; answers are bounded in number, size, depth and time; what
// is found never comes without TLS. Of the address nothing is sent to anybody but
// its domain.
package discover

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
)

// Source is where a candidate was learned.
type Source string

// The sources.
const (
	SourceProvider   Source = "PROVIDER"   // the table, by the address's domain
	SourceSRV        Source = "SRV"        // SRV records
	SourceAutoconfig Source = "AUTOCONFIG" // the domain's configuration for mail programs
	SourceMX         Source = "MX"         // the table, by the domain's MX records
	SourceProbe      Source = "PROBE"      // a server with a usual name that answers
)

// Method is what one can log in with.
type Method string

// The methods.
const (
	MethodPassword    Method = "PASSWORD"
	MethodAppPassword Method = "APP_PASSWORD" // one that the provider makes for programs
	MethodOAuth2      Method = "OAUTH2"
)

// Server is a mail server.
type Server struct {
	// Host is a name in ASCII, without a dot at its end.
	Host string
	Port int
	// TLSMode is never [imapconn.ModePlaintext].
	TLSMode imapconn.TLSMode
	// Username is empty where nobody but the user knows it.
	Username string
}

// OAuth2 is where tokens come from, and what for.
type OAuth2 struct {
	AuthorizationURL, TokenURL string
	Scopes                     []string
}

// Candidate is a pair of servers that may be those of the address.
type Candidate struct {
	Source Source
	// Provider is whose servers they are, as people call it; empty where the table
	// does not have them.
	Provider string
	IMAP     Server
	// SMTP is nil where there is none.
	SMTP *Server
	// Methods are what one can log in with, the best first; empty where that is not
	// known.
	Methods []Method
	// OAuth2 is nil where the table does not have it.
	OAuth2 *OAuth2
	// Verified says that each of the servers was connected to, showed a certificate
	// that is good for its host, and greeted.
	Verified bool
	// Confirm says that DNS alone names the servers, whose answers can be forged, and
	// that they are not in the address's domain: RFC 6186 section 6 has the user
	// asked before a password goes there.
	Confirm bool
	// Note is what else a person has to know, in English; often empty.
	Note string

	// failed says that one of the servers was tried and did not do.
	failed bool
}

// Bounds of a search. Whoever does not answer holds up what others have said for their
// share of the time, and no longer.
const (
	// DefaultTimeout is for how long a domain is looked at.
	DefaultTimeout = 10 * time.Second
	// firstShare is the part of it, in percent, that is for what the domain itself
	// says; the rest is for the usual names.
	firstShare  = 60
	dialTimeout = 5 * time.Second
)

// Config is what a Finder is made of.
type Config struct {
	// Guard says which addresses are connected to; its resolver is asked for records,
	// too.
	Guard *netguard.Guard
	// Dial, where it is given, takes the place of the guard's own dialer. Host names in
	// addr end with a dot, so that no search list is gone through.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is the base of the TLS configuration; nil means the system's roots.
	TLS *tls.Config
	// UserAgent is sent to web servers.
	UserAgent string
	// Timeout bounds the look at one domain; 0 means [DefaultTimeout].
	Timeout time.Duration
}

// Finder finds servers. It remembers for some minutes what it has found. It is safe
// for concurrent use.
type Finder struct {
	config Config
	cache  cache
}

// New makes a finder.
func New(config Config) *Finder {
	if config.Guard == nil {
		config.Guard = &netguard.Guard{}
	}
	if config.Dial == nil {
		config.Dial = config.Guard.Dialer(dialTimeout)
	}
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	return &Finder{config: config}
}

// Known returns the candidates for an address where they can be told without asking
// anybody: by the table, or because they were found within the last minutes.
func (f *Finder) Known(a Address) ([]Candidate, bool) {
	if p := providerOfDomain(a.Domain); p != nil {
		return a.fill([]Candidate{p.candidate(SourceProvider)}), true
	}
	found, ok := f.cache.get(a.Domain, time.Now())
	return a.fill(found), ok
}

// Find returns the candidates for an address, the best first. None is not an error.
// It fails only when ctx ends.
func (f *Finder) Find(ctx context.Context, a Address) ([]Candidate, error) {
	if known, ok := f.Known(a); ok {
		return known, nil
	}
	found := f.look(ctx, a.Domain)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("look for the mail servers of %s: %w", a.Domain, ctx.Err())
	}
	f.cache.put(a.Domain, found, time.Now())
	return a.fill(found), nil
}

// search is the look at one domain.
type search struct {
	*Finder
	domain string
}

// look asks all sources for a domain. User names in what it returns are patterns.
func (f *Finder) look(ctx context.Context, domain string) []Candidate {
	ctx, cancel := context.WithTimeout(ctx, f.config.Timeout)
	defer cancel()
	s := &search{Finder: f, domain: domain}
	said, offered := s.ask(ctx)
	if len(said) == 0 && offered {
		said = s.usualNames(ctx)
	}
	for i := range said {
		said[i].recognise()
	}
	said = merge(said)
	slices.SortStableFunc(said, func(a, b Candidate) int { return cmp.Compare(rank(a), rank(b)) })
	return said
}

// rank sorts what was tried in vain behind the rest.
func rank(c Candidate) int {
	if c.failed {
		return 1
	}
	return 0
}

// ask collects what the domain says by itself. offered is false where it says that
// it has no IMAP.
func (s *search) ask(ctx context.Context) (said []Candidate, offered bool) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout*firstShare/100)
	defer cancel()
	var bySRV, byWeb, byMX []Candidate
	var work sync.WaitGroup
	work.Go(func() { bySRV, offered = s.srv(ctx) })
	work.Go(func() { byWeb = s.autoconfig(ctx) })
	work.Go(func() { byMX = s.mx(ctx) })
	work.Wait()
	return slices.Concat(bySRV, byWeb, byMX), offered
}

// merge leaves one of those that name the same servers. What HTTPS has said counts
// more than the same by DNS.
func merge(all []Candidate) []Candidate {
	var kept []Candidate
	for _, c := range all {
		i := slices.IndexFunc(kept, func(k Candidate) bool { return k.IMAP.same(c.IMAP) && sameSMTP(k.SMTP, c.SMTP) })
		switch {
		case i < 0:
			kept = append(kept, c)
		case kept[i].Source == SourceSRV && c.Source == SourceAutoconfig:
			kept[i] = c
		}
	}
	return kept
}

func (s Server) same(t Server) bool {
	return s.Host == t.Host && s.Port == t.Port && s.TLSMode == t.TLSMode
}

func sameSMTP(a, b *Server) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.same(*b)
}

// sameSite reports whether two names belong to the same registered domain.
func sameSite(a, b string) bool {
	siteA, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return a == b
	}
	siteB, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && siteA == siteB
}

// dial connects to a host by its whole name.
func (f *Finder) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return f.config.Dial(ctx, network, net.JoinHostPort(strings.TrimSuffix(host, ".")+".", port))
}
