package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/crypto/acme"

	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/pebbletest"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

const domain = "postern.example.com"

func newStore(t *testing.T) *Store {
	t.Helper()
	server := natsdtest.Start(t, natsd.Config{})
	conn, err := server.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	box, err := secret.OpenFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := OpenStore(t.Context(), js, 1, box)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// node is a listener with the certificate of an authority.
type node struct {
	*Certificates
	logged *logtest.Buffer
	addr   string
	stop   func()
}

// free is a listener whose address the authority can be told of.
func free(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// start runs a node that orders from an authority, on a listener for handshakes or,
// over HTTP, for requests.
func start(t *testing.T, authority *pebbletest.Authority, store *Store, listener net.Listener, change func(*Config)) *node {
	t.Helper()
	n := &node{logged: &logtest.Buffer{}, addr: listener.Addr().String()}
	cfg := Config{
		Domains: []string{domain, "www." + domain}, Email: "ops@example.com", Directory: authority.Directory, AcceptTerms: true,
		UserAgent: "Postern/test", Store: store, Log: slog.New(slog.NewTextHandler(n.logged, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	n.Certificates = New(cfg)
	n.wait = func(error, int) time.Duration { return 100 * time.Millisecond }
	trust, err := os.ReadFile(authority.TrustFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust)
	n.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	server := &http.Server{Handler: n, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), ReadHeaderTimeout: time.Minute}
	running.Go(func() {
		if !cfg.HTTP {
			listener = tls.NewListener(listener, &tls.Config{GetCertificate: n.Certificate, GetConfigForClient: n.ConfigFor})
		}
		_ = server.Serve(listener)
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		_ = server.Close()
		running.Wait()
	})
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Log(n.logged.String())
		}
	})
	return n
}

// leaf is the certificate that the node serves, nil when it has none.
func (n *node) leaf() *x509.Certificate {
	if pair, err := n.Certificate(nil); err == nil {
		return pair.Leaf
	}
	return nil
}

// trusted shakes hands as a client that trusts the authority.
func (n *node) trusted(t *testing.T, authority *pebbletest.Authority, name string) {
	t.Helper()
	conn, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: authority.Issued, ServerName: name})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	_ = conn.Close()
}

func TestIssuedAndRenewed(t *testing.T) {
	t.Parallel()
	listener := free(t)
	authority := pebbletest.Start(t, pebbletest.Config{TLS: listener.Addr().String(), Life: 24 * time.Second})
	n := start(t, authority, newStore(t), listener, nil)
	waittest.For(t, "a certificate", func() bool { return n.leaf() != nil })
	first := n.leaf()
	n.trusted(t, authority, domain)
	n.trusted(t, authority, "www."+domain)
	waittest.For(t, "the next certificate", func() bool { return !n.leaf().Equal(first) })
	if !time.Now().Before(first.NotAfter) {
		t.Error("it was renewed when it was too late")
	}
	n.trusted(t, authority, domain)
}

func TestByHTTP(t *testing.T) {
	t.Parallel()
	listener := free(t)
	authority := pebbletest.Start(t, pebbletest.Config{HTTP: listener.Addr().String(), Life: time.Hour})
	n := start(t, authority, newStore(t), listener, func(cfg *Config) { cfg.HTTP = true })
	waittest.For(t, "a certificate", func() bool { return n.leaf() != nil })
	if err := n.leaf().VerifyHostname("www." + domain); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/", "/v1/accounts", challengePath, challengePath + "x", challengePath + strings.Repeat("x", 500)} {
		answer := httptest.NewRecorder()
		n.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://"+domain+path, http.NoBody))
		if answer.Code != http.StatusNotFound || answer.Header().Get("Location") != "" {
			t.Errorf("%s: status %d", path, answer.Code)
		}
	}
}

func TestAuthorityIsAway(t *testing.T) {
	t.Parallel()
	listener := free(t)
	authority := pebbletest.Start(t, pebbletest.Config{TLS: listener.Addr().String(), Life: time.Hour})
	authority.SetDown(true)
	store := newStore(t)
	n := start(t, authority, store, listener, nil)
	waittest.For(t, "several attempts to be told of", func() bool {
		return strings.Count(n.logged.String(), "the authority gives no certificate for the API") > 2
	})
	if _, err := tls.Dial("tcp", n.addr, &tls.Config{ServerName: domain}); err == nil {
		t.Error("a certificate from nowhere")
	}
	authority.SetDown(false)
	waittest.For(t, "a certificate", func() bool { return n.leaf() != nil })
	n.trusted(t, authority, domain)

	// The next start needs no authority.
	first := n.leaf()
	n.stop()
	authority.SetDown(true)
	again := start(t, authority, store, free(t), nil)
	waittest.For(t, "the stored certificate", func() bool { return again.leaf() != nil })
	if !again.leaf().Equal(first) || authority.Orders() != 1 {
		t.Errorf("%d orders, and the stored certificate is another: %t", authority.Orders(), !again.leaf().Equal(first))
	}
	again.trusted(t, authority, domain)
}

// Of two nodes one orders, and the other is asked whose name it is.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	asked := free(t)
	authority := pebbletest.Start(t, pebbletest.Config{TLS: asked.Addr().String(), Life: time.Hour})
	store := newStore(t)
	other := start(t, authority, store, asked, func(cfg *Config) {
		cfg.Alone = func(ctx context.Context, _ func(context.Context) error) error { <-ctx.Done(); return nil }
	})
	orders := start(t, authority, store, free(t), nil)
	waittest.For(t, "both to have a certificate", func() bool { return orders.leaf() != nil && other.leaf() != nil })
	if !orders.leaf().Equal(other.leaf()) || authority.Orders() != 1 {
		t.Errorf("%d orders, certificates differ: %t", authority.Orders(), !orders.leaf().Equal(other.leaf()))
	}
	other.trusted(t, authority, domain)
	// What is stored is sealed, and nothing is left of the challenges.
	keys, err := store.kv.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys.Keys() {
		kinds := SealedKinds()
		at := slices.IndexFunc(kinds, func(k keyring.Kind) bool { return strings.HasPrefix(key, k.Prefix) })
		if at < 0 {
			t.Errorf("%s is left", key)
			continue
		}
		entry, err := store.kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(entry.Value(), []byte("PRIVATE KEY")) || bytes.Contains(entry.Value(), []byte("CERTIFICATE")) {
			t.Errorf("%s is not sealed", key)
		}
		again, err := kinds[at].Reseal(store.box, strings.TrimPrefix(key, kinds[at].Prefix), entry.Value())
		if err != nil {
			t.Errorf("%s cannot be sealed anew: %v", key, err)
			continue
		}
		if _, err := store.kv.Update(t.Context(), key, again, entry.Revision()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.get(t.Context(), key); err != nil {
			t.Errorf("sealed anew, %s does not open: %v", key, err)
		}
	}
}

// A value that does not open, as with another key, is as good as none.
func TestUnreadableIsOrderedAnew(t *testing.T) {
	t.Parallel()
	listener := free(t)
	authority := pebbletest.Start(t, pebbletest.Config{TLS: listener.Addr().String(), Life: time.Hour})
	store := newStore(t)
	at := New(Config{Domains: []string{domain, "www." + domain}, Directory: authority.Directory}).slot()
	for _, at := range []string{at, slot(kindAccount, authority.Directory)} {
		if _, err := store.kv.Put(t.Context(), at, []byte("sealed by nobody")); err != nil {
			t.Fatal(err)
		}
	}
	n := start(t, authority, store, listener, nil)
	waittest.For(t, "a certificate", func() bool { return n.leaf() != nil })
}

func TestPause(t *testing.T) {
	t.Parallel()
	away := errors.New("connection refused")
	refused := fmt.Errorf("order: %w", &acme.Error{StatusCode: 400, ProblemType: "urn:ietf:params:acme:error:caa"})
	invalid := fmt.Errorf("authorization: %w", &acme.AuthorizationError{})
	limited := &acme.Error{
		StatusCode: 429, ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"7200"}},
	}
	for name, c := range map[string]struct {
		err      error
		failures int
		want     time.Duration
	}{
		"away":              {away, 0, 5 * time.Second},
		"away again":        {away, 2, 20 * time.Second},
		"away for long":     {away, 1000, 5 * time.Minute},
		"refused":           {refused, 0, time.Minute},
		"refused again":     {refused, 2, 16 * time.Minute},
		"refused for long":  {refused, 1000, time.Hour},
		"not our name":      {invalid, 1, 4 * time.Minute},
		"told when to come": {limited, 0, 2 * time.Hour},
	} {
		if got := pause(c.err, c.failures); got.Round(time.Second) != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestDueAt(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, days := range []int{6, 45, 90} {
		if got, want := dueAt(from, from.AddDate(0, 0, days)), from.AddDate(0, 0, days*2/3); !got.Equal(want) {
			t.Errorf("%d days: due at %s, want %s", days, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Config{Domains: []string{"postern.example.com", "xn--bcher-kva.example"}, Directory: LetsEncrypt, AcceptTerms: true}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for says, change := range map[string]func(*Config){
		"has a wildcard":        func(c *Config) { c.Domains = []string{"*.example.com"} },
		"is an address":         func(c *Config) { c.Domains = []string{"192.0.2.1"} },
		`"localhost" is no`:     func(c *Config) { c.Domains = []string{"localhost"} },
		`"Mail.example.com" is`: func(c *Config) { c.Domains = []string{"Mail.example.com"} },
		`"a..b" is no domain`:   func(c *Config) { c.Domains = []string{"a..b"} },
		`"a.b/c" is no domain`:  func(c *Config) { c.Domains = []string{"a.b/c"} },
		"is named twice":        func(c *Config) { c.Domains = []string{"a.b", "a.b"} },
		"there are 0 domains":   func(c *Config) { c.Domains = nil },
		"give an https URL":     func(c *Config) { c.Directory = "http://ca.example.com/dir" },
		"terms of service":      func(c *Config) { c.AcceptTerms = false },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
