package clientcert_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/clientcert"
	"github.com/postern-mail/postern/internal/secret"
)

// open opens a file of principals and follows it until the test ends.
func open(t *testing.T, text string) (_ *clientcert.Authenticator, replace func(text string)) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "principals.yaml")
	replace = func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(text)
	a, err := clientcert.Open("--principals", name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return a, replace
}

func TestWho(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	marked := ca.Client(t, nil).Leaf
	sum := sha256.Sum256(marked.Raw)
	a, _ := open(t, `
principals:
  - certificate: {uri: "spiffe://example.com/billing"}
    name: billing
    scopes: [messages:read, events:read]
    accounts: [accounts/ann, bob]
  - certificate: {dns: App.Example.com}
    scopes: [admin]
  - certificate: {email: "Ops@EXAMPLE.com"}
    scopes: [accounts:read]
    labels: {team: ops}
  - certificate: {subject: "CN=robot,O=Example"}
    scopes: [messages:read]
  - certificate: {fingerprint: "`+strings.ToUpper(hex.EncodeToString(sum[:]))+`"}
    scopes: [messages:read]
`)
	client := func(change func(*x509.Certificate)) *x509.Certificate { return ca.Client(t, change).Leaf }
	const unknown = "belongs to no caller that this gateway knows"
	for name, c := range map[string]struct {
		certificate *x509.Certificate
		id, says    string
	}{
		"URI": {client(func(c *x509.Certificate) {
			c.URIs = []*url.URL{uri("https://example.com/x"), uri("spiffe://example.com/billing")}
		}), "cert:billing", ""},
		"URI below": {client(func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/billing/x")} }), "", unknown},
		"DNS":       {client(func(c *x509.Certificate) { c.DNSNames = []string{"app.EXAMPLE.com"} }), "cert:dns:app.example.com", ""},
		"wildcard":  {client(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.com"} }), "", unknown},
		"DNS in the common name": {client(func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: "app.example.com"}
		}), "", unknown},
		"email":               {client(func(c *x509.Certificate) { c.EmailAddresses = []string{"Ops@example.COM"} }), "cert:email:Ops@example.com", ""},
		"email of other case": {client(func(c *x509.Certificate) { c.EmailAddresses = []string{"ops@example.com"} }), "", unknown},
		"subject": {client(func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: "robot", Organization: []string{"Example"}}
		}), "cert:subject:CN=robot,O=Example", ""},
		"fingerprint": {marked, "cert:fingerprint:" + hex.EncodeToString(sum[:]), ""},
		"nothing":     {client(nil), "", unknown},
		"two callers": {client(func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses = []string{"app.example.com"}, []string{"Ops@example.com"}
		}), "", "belongs to several callers"},
		"expired": {client(func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"app.example.com"}, time.Now().Add(-time.Hour)
		}), "", "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := a.Authenticate(t.Context(), access.Credentials{Certificate: c.certificate})
			if who.ID != c.id {
				t.Errorf("it is %q, want %q", who.ID, c.id)
			}
			invalid, _ := errors.AsType[*access.InvalidError](err)
			if c.says != "" && (invalid == nil || invalid.Problem != c.says) || c.says == "" && err != nil {
				t.Errorf("says %v, want %q", err, c.says)
			}
		})
	}
	dns := client(func(c *x509.Certificate) { c.DNSNames = []string{"app.example.com"} })
	_, err := a.Authenticate(t.Context(), access.Credentials{Certificate: dns, Token: secret.New("x")})
	if !errors.Is(err, access.ErrInvalid) {
		t.Errorf("with a token beside it: %v", err)
	}
	who, err := a.Authenticate(t.Context(), access.Credentials{
		Certificate: client(func(c *x509.Certificate) { c.URIs = []*url.URL{uri("spiffe://example.com/billing")} }),
	})
	if err != nil || fmt.Sprint(who.Grant) != "{[messages:read events:read] [ann bob] map[]}" {
		t.Errorf("%v, %v", who.Grant, err)
	}
}

func ended(who access.Principal) bool {
	select {
	case <-who.Ended:
		return true
	default:
		return false
	}
}

func TestChangesEndCallers(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	const keeps, changes, goes = "spiffe://x/keeps", "spiffe://x/changes", "spiffe://x/goes"
	entry := func(uri, scope string) string {
		return fmt.Sprintf("  - certificate: {uri: %q}\n    scopes: [%s]\n", uri, scope)
	}
	a, replace := open(t, "principals:\n"+entry(keeps, "admin")+entry(changes, "admin")+entry(goes, "admin"))
	certificates, callers := map[string]*x509.Certificate{}, map[string]access.Principal{}
	for _, uri := range []string{keeps, changes, goes} {
		certificates[uri] = ca.Workload(t, uri).Leaf
		who, err := a.Authenticate(t.Context(), access.Credentials{Certificate: certificates[uri]})
		if err != nil || ended(who) {
			t.Fatalf("%s: %v", uri, err)
		}
		callers[uri] = who
	}
	replace("principals:\n" + entry("spiffe://x/new", "admin") + entry(changes, "messages:read") + entry(keeps, "admin"))
	for _, uri := range []string{changes, goes} {
		select {
		case <-callers[uri].Ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s is not ended", uri)
		}
	}
	if ended(callers[keeps]) {
		t.Error("one that has not changed is ended")
	}
	who, err := a.Authenticate(t.Context(), access.Credentials{Certificate: certificates[changes]})
	if err != nil || who.Has(access.Admin) || !who.Has(access.MessagesRead) || ended(who) {
		t.Errorf("changed: %v, %v", who.Grant, err)
	}
	if _, err := a.Authenticate(t.Context(), access.Credentials{Certificate: certificates[goes]}); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("gone: %v", err)
	}
	soon := ca.Client(t, func(c *x509.Certificate) {
		c.URIs, c.NotAfter = certificates[keeps].URIs, time.Now().Add(2*time.Second)
	})
	who, err = a.Authenticate(t.Context(), access.Credentials{Certificate: soon.Leaf})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-who.Ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the end of the certificate does not end its holder")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"principals:\n- certificate: {uri: 'spiffe://x/a'}\n  scope: [admin]":                                                       "field scope not found",
		"principals:\n- certificate: {uri: 'spiffe://x/a'}":                                                                         "scopes: give at least one",
		"principals:\n- certificate: {uri: 'spiffe://x/a'}\n  scopes: [mail:burn]":                                                  `there is no scope "mail:burn"`,
		"principals:\n- certificate: {uri: 'spiffe://x/a', dns: a}\n  scopes: [admin]":                                              "give one of",
		"principals:\n- scopes: [admin]":                                                                                            "give one of",
		"principals:\n- certificate: {cn: a}\n  scopes: [admin]":                                                                    `there is no "cn"`,
		"principals:\n- certificate: {uri: a}\n  scopes: [admin]":                                                                   "is no URI",
		"principals:\n- certificate: {dns: '*.example.com'}\n  scopes: [admin]":                                                     "is no name",
		"principals:\n- certificate: {email: a}\n  scopes: [admin]":                                                                 "is no address",
		"principals:\n- certificate: {email: ' '}\n  scopes: [admin]":                                                               "is empty",
		"principals:\n- certificate: {fingerprint: 'aa:bb'}\n  scopes: [admin]":                                                     "64 hexadecimal digits",
		"principals:\n- certificate: {dns: a}\n  scopes: [admin]\n  accounts: []":                                                   "leave out what is empty",
		"principals:\n- certificate: {dns: a}\n  scopes: [admin]\n  accounts: ['accounts/-']":                                       "is no account",
		"principals:\n- certificate: {dns: a}\n  scopes: [admin]\n- certificate: {dns: A}\n  scopes: [admin]":                       "there is another with the certificate",
		"principals:\n- certificate: {dns: a}\n  name: x\n  scopes: [admin]\n- certificate: {dns: b}\n  name: x\n  scopes: [admin]": "there is another with the name",
		"principals:\n- certificate: {dns: a}\n  name: \"a\\nb\"\n  scopes: [admin]":                                                "control character",
		"principals: []\n---\nprincipals: []":                                                                                       "second YAML document",
		"{":                                                                                                                         "did not find",
	} {
		if _, err := clientcert.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s\n%v, want %q", text, err, says)
		}
	}
	if _, err := clientcert.Parse([]byte("# nobody yet\n")); err != nil {
		t.Errorf("nobody: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("principals:\n- certificate: {uri: 'spiffe://x/a'}\n  name: a\n  scopes: [admin]\n  accounts: [ann]\n  labels: {a: b}\n"))
	f.Add([]byte("principals:\n- certificate: {fingerprint: 'AA:BB'}\n  scopes: []\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = clientcert.Parse(text) // it must not panic
	})
}
