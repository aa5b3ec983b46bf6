// Package acme gets the API's certificate from an authority that speaks ACME
// (RFC 8555), such as Let's Encrypt, and renews it in time. One node of several
// does so, and all of them serve it. It is built on golang.org/x/crypto/acme
// rather than on autocert beside it, which orders when clients connect, on each
// node for itself, and keeps to itself what goes wrong.
package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = acme.LetsEncryptURL

const (
	// orderTimeout bounds one order, storeTimeout one look at the store.
	orderTimeout = 5 * time.Minute
	storeTimeout = 5 * time.Second
	// followNone and followSome are how often the store is looked at for a
	// certificate that another node has got.
	followNone = 2 * time.Second
	followSome = time.Minute
)

// Config says which certificate is wanted, and from whom.
type Config struct {
	// Domains are the names that the certificate is for.
	Domains []string
	// Email is where the authority writes to; may be empty.
	Email string
	// Directory is the authority's.
	Directory string
	// AcceptTerms says that the operator has accepted the authority's terms.
	AcceptTerms bool
	// HTTP has the names proved over HTTP on port 80 (RFC 8555 section 8.3) rather
	// than in a handshake on port 443 (RFC 8737).
	HTTP bool
	// UserAgent is what we call ourselves.
	UserAgent string
	Store     *Store
	// Alone runs a function on one node at a time; nil where there is only one.
	Alone func(ctx context.Context, fn func(context.Context) error) error
	Log   *slog.Logger
}

// Validate checks what can be checked before there is a store.
func (c *Config) Validate() error {
	for i, domain := range c.Domains {
		if err := checkDomain(domain); err != nil {
			return err
		}
		if slices.Contains(c.Domains[:i], domain) {
			return fmt.Errorf("the domain %s is named twice", domain)
		}
	}
	if len(c.Domains) == 0 || len(c.Domains) > 100 {
		return fmt.Errorf("there are %d domains: give from 1 to 100", len(c.Domains))
	}
	u, err := url.Parse(c.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("the directory is %q: give an https URL such as %s", c.Directory, LetsEncrypt)
	}
	if !c.AcceptTerms {
		return fmt.Errorf("the authority at %s has terms of service: read them, and say that you accept them", u.Host)
	}
	return nil
}

func checkDomain(domain string) error {
	switch {
	case strings.HasPrefix(domain, "*."):
		return fmt.Errorf("the domain %s has a wildcard, for which authorities want proof by DNS, which Postern does not do", domain)
	case domain != strings.ToLower(domain), len(domain) > 253, !strings.Contains(domain, "."), strings.ContainsFunc(domain, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}), strings.Contains("."+domain+".", ".."):
		return fmt.Errorf("%q is no domain such as postern.example.com, in small letters; names in other scripts in their xn-- form", domain)
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return fmt.Errorf("%s is an address and no domain", domain)
	}
	return nil
}

// Certificates gives out the certificate that there is. It has to Run for there to
// be one.
type Certificates struct {
	cfg     Config
	current atomic.Pointer[tls.Certificate]
	// wait is after a failure; see [pause].
	wait   func(err error, failures int) time.Duration
	client *http.Client
}

// New makes Certificates of a valid configuration.
func New(cfg Config) *Certificates {
	return &Certificates{cfg: cfg, wait: pause, client: &http.Client{Timeout: time.Minute}}
}

// errNoCertificate is for handshakes before there is one.
var errNoCertificate = errors.New("the authority has not issued a certificate yet; the log says why")

// Certificate implements what [tls.Config] wants of GetCertificate. Clients get the
// certificate whichever name they ask for: they know better than we do whether
// they like it.
func (c *Certificates) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if current := c.current.Load(); current != nil {
		return current, nil
	}
	return nil, errNoCertificate
}

// Run follows the store, and has one node order certificates when they are due,
// until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	alone := c.cfg.Alone
	if alone == nil {
		alone = func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
	}
	ordering := make(chan error, 1)
	go func() { ordering <- alone(ctx, c.order) }()
	c.follow(ctx)
	return <-ordering
}

// follow serves what is in the store.
func (c *Certificates) follow(ctx context.Context) {
	failing := false
	for {
		err := c.load(ctx)
		if failed := err != nil && !errors.Is(err, errNone) && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				c.cfg.Log.Warn("the API's certificate cannot be looked at", "error", err)
			}
		}
		every := followSome
		if c.current.Load() == nil {
			every = followNone
		}
		if !sleep(ctx, every) {
			return
		}
	}
}

// load takes the certificate out of the store.
func (c *Certificates) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	stored, err := c.cfg.Store.get(ctx, c.slot())
	if err != nil {
		return err
	}
	pair, err := parsePair(stored)
	if err != nil {
		return err
	}
	former := c.current.Swap(pair)
	if former == nil || !former.Leaf.Equal(pair.Leaf) {
		c.cfg.Log.Info("the API's certificate is in force", "domains", strings.Join(c.cfg.Domains, ","),
			"issuer", pair.Leaf.Issuer.String(), "until", pair.Leaf.NotAfter, "renewal", dueAt(pair.Leaf.NotBefore, pair.Leaf.NotAfter))
	}
	return nil
}

// slot is where the certificate is: another authority or other names are another
// certificate.
func (c *Certificates) slot() string {
	return slot(kindCertificate, append([]string{c.cfg.Directory}, slices.Sorted(slices.Values(c.cfg.Domains))...)...)
}

// order orders a certificate whenever one is due, until ctx ends.
func (c *Certificates) order(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		wait, err := c.orderDue(ctx)
		if err == nil {
			failures = 0
		} else if ctx.Err() == nil {
			wait = c.wait(err, failures)
			failures++
			c.complain(err, wait)
		}
		sleep(ctx, wait)
	}
	return nil
}

// complain says that an order has failed, the louder the less time is left.
func (c *Certificates) complain(err error, wait time.Duration) {
	level, left := slog.LevelError, "none"
	if current := c.current.Load(); current != nil {
		remaining := time.Until(current.Leaf.NotAfter)
		left = remaining.Round(time.Second).String()
		if remaining > current.Leaf.NotAfter.Sub(current.Leaf.NotBefore)/6 {
			level = slog.LevelWarn
		}
	}
	c.cfg.Log.Log(context.Background(), level, "the authority gives no certificate for the API", "directory", c.cfg.Directory,
		"domains", strings.Join(c.cfg.Domains, ","), "left_of_the_present_one", left, "next_attempt_in", wait, "error", err)
}

// orderDue orders a certificate if one is due, and says how long there is nothing
// to do.
func (c *Certificates) orderDue(ctx context.Context) (wait time.Duration, err error) {
	if err := c.load(ctx); err != nil && !errors.Is(err, errNone) {
		return 0, err
	}
	if current := c.current.Load(); current != nil {
		if left := time.Until(dueAt(current.Leaf.NotBefore, current.Leaf.NotAfter)); left > 0 {
			return left, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	pair, err := c.obtain(ctx)
	if err != nil {
		return 0, err
	}
	if err := c.cfg.Store.put(ctx, c.slot(), pair); err != nil {
		return 0, err
	}
	return 0, c.load(ctx)
}

// dueAt is when a certificate is to be renewed: with a third of its life left,
// whatever that is.
func dueAt(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-notAfter.Sub(notBefore) / 3)
}

// pause is how long to wait after a failure. An authority that says for how long is
// obeyed. One that has tried our names in vain counts that, and a few times in an
// hour are too many; one that could not be reached does not.
func pause(err error, failures int) time.Duration {
	const (
		shortest, reachable = 5 * time.Second, 5 * time.Minute
		counted, longest    = time.Minute, time.Hour
	)
	if wait, limited := acme.RateLimit(err); limited && wait > 0 {
		return min(max(wait, counted), 24*time.Hour)
	}
	if _, refused := errors.AsType[*acme.Error](err); refused {
		return min(counted<<min(2*failures, 10), longest)
	}
	if _, refused := errors.AsType[*acme.AuthorizationError](err); refused {
		return min(counted<<min(2*failures, 10), longest)
	}
	return min(shortest<<min(failures, 10), reachable)
}

// sleep waits, and reports whether it was for so long.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
