package account_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/secret"
)

func TestTrustIsValidated(t *testing.T) {
	t.Parallel()
	authority := certtest.New(t)
	expired := certtest.NewUntil(t, time.Now().Add(-time.Hour))
	good, old := certtest.PEM(authority.Certificate), certtest.PEM(expired.Certificate)
	pin := account.KeyPin(authority.Certificate)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	for name, c := range map[string]struct {
		trust account.Trust
		field string // what is wrong; empty for nothing
		says  string
	}{
		"nothing":                 {account.Trust{}, "", ""},
		"an authority":            {account.Trust{Authorities: good}, "", ""},
		"two, with text":          {account.Trust{Authorities: "# ours\n" + good + "\n# another\n" + good}, "", ""},
		"a pin":                   {account.Trust{Pins: []string{pin}}, "", ""},
		"both":                    {account.Trust{Authorities: good, Pins: []string{pin}}, "", ""},
		"no PEM":                  {account.Trust{Authorities: "trust me"}, "imap.tls.ca_certificates", "no certificate"},
		"damaged PEM":             {account.Trust{Authorities: strings.Replace(good, "MII", "!!!", 1)}, "imap.tls.ca_certificates", "no certificate"},
		"no certificate in it":    {account.Trust{Authorities: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))}, "imap.tls.ca_certificates", "certificate 1 cannot be read"},
		"cut short":               {account.Trust{Authorities: good + good[:len(good)/2]}, "imap.tls.ca_certificates", "cut short"},
		"a private key":           {account.Trust{Authorities: good + key}, "imap.tls.ca_certificates", "PRIVATE KEY"},
		"expired":                 {account.Trust{Authorities: old}, "imap.tls.ca_certificates", "expired"},
		"one of two expired":      {account.Trust{Authorities: good + old}, "imap.tls.ca_certificates", "expired"},
		"too large":               {account.Trust{Authorities: good + strings.Repeat("#", 17<<10)}, "imap.tls.ca_certificates", "at most"},
		"too many":                {account.Trust{Authorities: strings.Repeat(good, 17)}, "imap.tls.ca_certificates", "at most"},
		"a pin in hexadecimal":    {account.Trust{Pins: []string{strings.Repeat("ab", 32)}}, "imap.tls.pinned_keys", "sha256/"},
		"a pin with a line break": {account.Trust{Pins: []string{pin + "\n"}}, "imap.tls.pinned_keys", "sha256/"},
		"too many pins":           {account.Trust{Pins: slices.Repeat([]string{pin}, 11)}, "imap.tls.pinned_keys", "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ann()
			a.IMAP.Trust = c.trust
			a.Normalize()
			wantViolation(t, a.Validate(), c.field, c.says)
			if c.trust.IsZero() {
				return
			}
			a.IMAP.Trust, a.SMTP.Trust = account.Trust{}, c.trust
			wantViolation(t, a.Validate(), strings.Replace(c.field, "imap", "smtp", 1), c.says)
			a.SMTP.TLSMode = account.Plaintext
			if c.field == "" {
				wantViolation(t, a.Validate(), "smtp.tls", "without TLS")
			}
		})
	}
}

func wantViolation(t *testing.T, err error, field, says string) {
	t.Helper()
	if field == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	wrong, ok := errors.AsType[*invalid.Error](err)
	if !ok {
		t.Fatalf("error %v, want an invalid.Error of %s", err, field)
	}
	if first := wrong.Fields[0]; first.Name != field || !strings.Contains(first.Description, says) {
		t.Errorf("violations %+v, want one of %s that says %q", wrong.Fields, field, says)
	}
}

// trusts gives ways to recognise Dovecot, and how the step TLS ends by each.
func trusts(t *testing.T, srv *dovecottest.Server) map[string]struct {
	trust  account.Trust
	detail string // of the failure; empty for none
} {
	t.Helper()
	conn, err := tls.Dial("tcp", srv.TLSAddr(), &tls.Config{RootCAs: srv.CAs(), ServerName: "localhost", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chains := conn.ConnectionState().VerifiedChains
	leaf, root := chains[0][0], chains[0][len(chains[0])-1]
	stranger := certtest.New(t).Certificate
	return map[string]struct {
		trust  account.Trust
		detail string
	}{
		"the machine's authorities":       {account.Trust{}, "imap.tls"},
		"its authority":                   {account.Trust{Authorities: certtest.PEM(root)}, ""},
		"its authority beside another":    {account.Trust{Authorities: certtest.PEM(stranger) + certtest.PEM(root)}, ""},
		"its own certificate":             {account.Trust{Authorities: certtest.PEM(leaf)}, ""},
		"another authority":               {account.Trust{Authorities: certtest.PEM(stranger)}, "authorities in imap.tls"},
		"its key":                         {account.Trust{Pins: []string{account.KeyPin(leaf)}}, ""},
		"its key after another":           {account.Trust{Pins: []string{account.KeyPin(stranger), account.KeyPin(leaf)}}, ""},
		"another key":                     {account.Trust{Pins: []string{account.KeyPin(stranger)}}, account.KeyPin(leaf)},
		"the authority's key":             {account.Trust{Pins: []string{account.KeyPin(root)}}, account.KeyPin(leaf)},
		"its authority and its key":       {account.Trust{Authorities: certtest.PEM(root), Pins: []string{account.KeyPin(leaf)}}, ""},
		"its authority and another key":   {account.Trust{Authorities: certtest.PEM(root), Pins: []string{account.KeyPin(stranger)}}, account.KeyPin(leaf)},
		"another authority and its key":   {account.Trust{Authorities: certtest.PEM(stranger), Pins: []string{account.KeyPin(leaf)}}, "authorities in imap.tls"},
		"authorities that are none (old)": {account.Trust{Authorities: "damaged"}, "authorities in imap.tls"},
	}
}

func TestServersAreRecognised(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	for name, c := range trusts(t, srv) {
		for _, mode := range []account.TLSMode{account.TLS, account.STARTTLS} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				a := dovecotAnn(t, srv)
				a.IMAP.Trust, a.IMAP.TLSMode = c.trust, mode
				if mode == account.STARTTLS {
					a.IMAP.Port = srv.Port()
				}
				steps := newConnector(t, account.ConnectorConfig{Registry: registry}).Verify(t.Context(), a)
				shown := steps[2].Certificate
				if steps[2].Check != account.CheckTLS || shown == nil || shown.Subject.CommonName != "localhost" {
					t.Errorf("the step %s shows %v", steps[2].Check, shown)
				}
				if c.detail == "" {
					wantSteps(t, steps, "PPPPPS")
					return
				}
				wantSteps(t, steps, "PPFSSS")
				if broken := failure(t, steps); !strings.Contains(broken.Detail, c.detail) || !is[*imapconn.TLSError](broken.Err) {
					t.Errorf("detail %q (%v) does not say %q", broken.Detail, broken.Err, c.detail)
				}
			})
		}
	}
}

// A pin stands for the server where nothing else about its certificate is right.
func TestPinAcceptsOtherwiseWrongCertificates(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	for name, template := range map[string]certtest.Template{
		"self-signed": {}, "another name": {Names: []string{"mail.example.com"}}, "expired": {NotAfter: time.Now().Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certificate := certtest.SelfSigned(t, template)
			port := startSMTP(t, &smtpServer{username: "ann", password: "sesame", mechanisms: []string{"PLAIN"}},
				&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, true)
			a := ann()
			a.IMAP.Host, a.IMAP.Port = "127.0.0.1", closedPort(t)
			a.SMTP = &account.Endpoint{Host: "127.0.0.1", Port: port, TLSMode: account.TLS, Username: "ann", Password: secret.New("sesame")}
			last := func() account.Step {
				steps := newConnector(t, account.ConnectorConfig{Registry: registry}).Verify(t.Context(), a)
				return steps[len(steps)-1]
			}
			step := last()
			if step.Outcome != account.StepFailed || step.Certificate == nil || !step.Certificate.Equal(certificate.Leaf) {
				t.Fatalf("unpinned: %+v", step)
			}
			a.SMTP.Trust.Pins = []string{account.KeyPin(step.Certificate)}
			if step = last(); step.Outcome != account.StepPassed || !step.Certificate.Equal(certificate.Leaf) {
				t.Errorf("pinned: %+v", step)
			}
		})
	}
}

// An authority that expires must not keep its account from being changed.
func TestUpdateKeepsTrust(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	a := ann()
	authority := certtest.New(t).Certificate
	a.IMAP.Trust = account.Trust{Authorities: certtest.PEM(authority), Pins: []string{account.KeyPin(authority)}}
	before := create(t, registry, a)
	after, err := registry.Update(t.Context(), a.ID, "", func(a *account.Account) error {
		a.IMAP.Password = secret.New("another")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after.IMAP.Trust.Authorities != before.IMAP.Trust.Authorities || !slices.Equal(after.IMAP.Trust.Pins, before.IMAP.Trust.Pins) {
		t.Errorf("trust is %+v after an update of the password", after.IMAP.Trust)
	}
	pinless, err := registry.Update(t.Context(), a.ID, "", func(a *account.Account) error {
		a.IMAP.Trust.Pins = nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pinless.ConnectionRevision == after.ConnectionRevision {
		t.Error("connections live on after a change of whom to trust")
	}
	expired := certtest.PEM(certtest.NewUntil(t, time.Now().Add(-time.Hour)).Certificate)
	_, err = registry.Update(t.Context(), a.ID, "", func(a *account.Account) error {
		a.IMAP.Trust.Authorities = expired
		return nil
	})
	wantViolation(t, err, "imap.tls.ca_certificates", "expired")
	expireAuthority(t, e, a.ID, expired)
	if _, err := e.open(t).Update(t.Context(), a.ID, "", func(a *account.Account) error {
		a.DisplayName = "Ann, years later"
		return nil
	}); err != nil {
		t.Errorf("an account with an authority that has expired cannot be changed: %v", err)
	}
}

// expireAuthority puts another authority into a stored account, as time does, and
// checks that its record cannot be misread by a Postern that does not know of
// trust.
func expireAuthority(t *testing.T, e *env, id, authority string) {
	t.Helper()
	kv, err := e.js.KeyValue(t.Context(), "postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := kv.Get(t.Context(), "account."+id)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(stored.Value(), &record); err != nil {
		t.Fatal(err)
	}
	if record["version"] != float64(2) {
		t.Errorf("a record with trust has version %v", record["version"])
	}
	record["imap"].(map[string]any)["trust"].(map[string]any)["authorities"] = authority
	changed, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), "account."+id, changed, stored.Revision()); err != nil {
		t.Fatal(err)
	}
}

func TestUnverifiedOnlyByTheOperator(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	stranger := certtest.New(t).Certificate
	for name, c := range map[string]struct {
		listed []account.Server
		trust  account.Trust
		want   string
	}{
		"nothing listed":   {nil, account.Trust{}, "PPFSSS"},
		"the host":         {[]account.Server{{Host: "127.0.0.1"}}, account.Trust{}, "PPPPPS"},
		"host and port":    {[]account.Server{{Host: "127.0.0.1", Port: srv.TLSPort()}}, account.Trust{}, "PPPPPS"},
		"another port":     {[]account.Server{{Host: "127.0.0.1", Port: 1}}, account.Trust{}, "PPFSSS"},
		"another host":     {[]account.Server{{Host: "localhost"}}, account.Trust{}, "PPFSSS"},
		"but pinned":       {[]account.Server{{Host: "127.0.0.1"}}, account.Trust{Pins: []string{account.KeyPin(stranger)}}, "PPFSSS"},
		"but an authority": {[]account.Server{{Host: "127.0.0.1"}}, account.Trust{Authorities: certtest.PEM(stranger)}, "PPFSSS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := dovecotAnn(t, srv)
			a.IMAP.Trust = c.trust
			connector := newConnector(t, account.ConnectorConfig{Registry: registry, Allow: account.Allowances{Unverified: c.listed}})
			steps := connector.Verify(t.Context(), a)
			wantSteps(t, steps, c.want)
			if unverified := c.want == "PPPPPS"; connector.Unverified(&a.IMAP) != unverified ||
				strings.Contains(steps[2].Detail, "not checked") != unverified {
				t.Errorf("unverified %v, detail %q", connector.Unverified(&a.IMAP), steps[2].Detail)
			}
		})
	}
}

// at is a connection that claims to lead to an address.
type at struct {
	net.Conn
	remote net.Addr
}

func (c at) RemoteAddr() net.Addr { return c.remote }

func TestPlaintextOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	for name, c := range map[string]struct {
		remote string
		allow  account.Allowances
		want   string
	}{
		"this machine":         {"127.0.0.1:143", account.Allowances{}, "PPSPPS"},
		"this machine, IPv6":   {"[::1]:143", account.Allowances{}, "PPSPPS"},
		"this machine, mapped": {"[::ffff:127.0.0.9]:143", account.Allowances{}, "PPSPPS"},
		"the internet":         {"192.0.2.7:143", account.Allowances{}, "PPFSSS"},
		"a private network":    {"10.1.2.3:143", account.Allowances{}, "PPFSSS"},
		"a network that is allowed": {"10.1.2.3:143",
			account.Allowances{PlaintextNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "PPSPPS"},
		"outside of it": {"10.1.2.3:143",
			account.Allowances{PlaintextNetworks: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}, "PPFSSS"},
		"a host that is allowed": {"192.0.2.7:143", account.Allowances{Plaintext: []account.Server{{Host: "LOCALHOST."}}}, "PPSPPS"},
		"another":                {"192.0.2.7:143", account.Allowances{Plaintext: []account.Server{{Host: "127.0.0.1"}}}, "PPFSSS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := dovecotAnn(t, srv)
			a.IMAP.Host, a.IMAP.Port, a.IMAP.TLSMode = "localhost", srv.Port(), account.Plaintext
			connector := newConnector(t, account.ConnectorConfig{
				Registry: registry, Allow: c.allow,
				Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, srv.Addr())
					return at{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))}, err
				},
			})
			steps := connector.Verify(t.Context(), a)
			wantSteps(t, steps, c.want)
			if c.want == "PPFSSS" {
				if broken := failure(t, steps); !is[*account.PlaintextError](broken.Err) || !strings.Contains(broken.Detail, "--allow-plaintext") {
					t.Errorf("detail %q, error %v", broken.Detail, broken.Err)
				}
			}
			config, err := connector.SMTPConfig(t.Context(), &account.Account{SMTP: &a.IMAP})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := config.Dial(t.Context(), "tcp", "")
			if (err == nil) != (c.want != "PPFSSS") {
				t.Errorf("for SMTP: %v", err)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]account.Server{
		"mail.example.com": {Host: "mail.example.com"}, "mail.example.com:993": {Host: "mail.example.com", Port: 993},
		"192.0.2.1": {Host: "192.0.2.1"}, "192.0.2.1:143": {Host: "192.0.2.1", Port: 143},
		"2001:db8::1": {Host: "2001:db8::1"}, "[2001:db8::1]:993": {Host: "2001:db8::1", Port: 993},
		"": {}, ":993": {}, "mail:": {}, "mail:0": {}, "mail:65536": {}, "mail:x": {}, "*": {}, "*.example.com": {}, "a b": {}, "mail/24": {},
	} {
		got, err := account.ParseServer(text)
		if (err != nil) != (want == account.Server{}) || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
		if err == nil && got.Port != 0 && got.String() != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

func TestKeyPinIsThatOfOpenSSL(t *testing.T) {
	t.Parallel()
	// openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
	block, _ := pem.Decode([]byte(pinned))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if got := account.KeyPin(c); got != "sha256/"+pinnedKey {
		t.Errorf("the pin is %s", got)
	}
}

const (
	pinned = `-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgIUfm89MAXUMCjBVMAG/mhpNKZOs4cwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQbWFpbC5leGFtcGxlLmNvbTAeFw0yNjExMjcwNjEwMTZaFw0z
NjExMjQwNjEwMTZaMBsxGTAXBgNVBAMMEG1haWwuZXhhbXBsZS5jb20wWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAS+ZFzcArL9a4ZgAzzkTH4bEcG7rbqS6T9QlYy0
nuLS5ATbbr//PpIm32sSWisnNIs3Q/r1ac7qPW+A50y1XcQSo1MwUTAdBgNVHQ4E
FgQUCq7+8Lkw4q4BTKSeHCAbzFyYmHcwHwYDVR0jBBgwFoAUCq7+8Lkw4q4BTKSe
HCAbzFyYmHcwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1qdW
ix9JFh1G3ZUBgTuncGN4BiVYjfw8EXJjMnxjXiACICaNLuh9m1ci1rmgE5ae2TO5
mmecijKEcQjgme0QL1uM
-----END CERTIFICATE-----`
	pinnedKey = "RtpVrgapOLk7JQFxkddFYGBus4pcyC4m7i3kf8cwoAc="
)
