package account_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/selfsigned"
)

// outcomes gives the steps in short, one letter each.
func outcomes(steps []account.Step) string {
	var b strings.Builder
	for _, step := range steps {
		b.WriteString(string(step.Outcome[0]))
	}
	return b.String()
}

func wantSteps(t *testing.T, steps []account.Step, want string) {
	t.Helper()
	order := []account.Check{account.CheckDNS, account.CheckTCP, account.CheckTLS,
		account.CheckIMAPAuth, account.CheckCapabilities, account.CheckSMTPAuth}
	if got := outcomes(steps); got != want {
		t.Errorf("outcomes %s, want %s\n%+v", got, want, steps)
	}
	for i, step := range steps {
		if i >= len(order) || step.Check != order[i] {
			t.Errorf("step %d is %s", i, step.Check)
		}
		if step.Detail == "" || (step.Err != nil) != (step.Outcome == account.StepFailed) {
			t.Errorf("step %s: detail %q, error %v", step.Check, step.Detail, step.Err)
		}
	}
}

// failure gives the step that failed.
func failure(t *testing.T, steps []account.Step) account.Step {
	t.Helper()
	for _, step := range steps {
		if step.Outcome == account.StepFailed {
			return step
		}
	}
	t.Fatalf("nothing failed: %+v", steps)
	return account.Step{}
}

func TestVerifyIMAP(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	closed, silent := closedPort(t), silentPort(t)
	p := newProvider(t)
	refusing := newProvider(t)
	refusing.refresh = "another"
	withGrant := func(tokenURL string) func(*account.Account) {
		return func(a *account.Account) {
			a.IMAP.Password = secret.String{}
			a.IMAP.OAuth2 = oauthAnn(tokenURL).IMAP.OAuth2
		}
	}
	cases := map[string]struct {
		change func(*account.Account)
		config func(*account.ConnectorConfig)
		want   string
		detail string
		as     func(error) bool
	}{
		"all well":       {want: "PPPPPS"},
		"STARTTLS":       {change: func(a *account.Account) { a.IMAP.TLSMode, a.IMAP.Port = account.STARTTLS, srv.Port() }, want: "PPPPPS"},
		"a name":         {change: func(a *account.Account) { a.IMAP.Host = "localhost" }, want: "PPPPPS"},
		"in clear":       {change: func(a *account.Account) { a.IMAP.TLSMode, a.IMAP.Port = account.Plaintext, srv.Port() }, want: "PPSPPS"},
		"no such host":   {change: func(a *account.Account) { a.IMAP.Host = "mail.invalid" }, want: "FSSSSS", detail: "mail.invalid", as: is[*net.DNSError]},
		"nobody listens": {change: func(a *account.Account) { a.IMAP.Port = closed }, want: "PFSSSS", detail: "imap.port"},
		"guarded": {config: func(c *account.ConnectorConfig) { c.Dial = (&netguard.Guard{}).Dialer(time.Second) },
			want: "PFSSSS", detail: "--allow-networks", as: is[*netguard.RefusedError]},
		"no TLS there": {change: func(a *account.Account) { a.IMAP.Port = srv.Port() }, want: "PPFSSS", detail: "STARTTLS", as: is[*imapconn.TLSError]},
		"not trusted":  {config: func(c *account.ConnectorConfig) { c.TLS = nil }, want: "PPFSSS", detail: "authority", as: is[*imapconn.TLSError]},
		"other name": {config: func(c *account.ConnectorConfig) { c.TLS.ServerName = "other.example" },
			want: "PPFSSS", detail: "not for", as: is[*imapconn.TLSError]},
		"wrong password": {change: func(a *account.Account) { a.IMAP.Password = secret.New("canary") },
			want: "PPPFSS", detail: "app password", as: is[*imapconn.AuthError]},
		"dead grant":    {change: withGrant(refusing.URL), want: "PPPFSS", detail: "authorize it anew", as: is[*account.TokenRefusedError]},
		"useless token": {change: withGrant(p.URL), want: "PPPFSS", detail: "credentials", as: is[*imapconn.AuthError]},
		"silence": {change: func(a *account.Account) { a.IMAP.Port = silent },
			want: "PPFSSS", detail: "does not answer", as: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := dovecotConfig(srv, registry)
			if c.config != nil {
				c.config(&config)
			}
			a := dovecotAnn(t, srv)
			a.ID = ""
			if c.change != nil {
				c.change(a)
			}
			a = create(t, registry, a)
			ctx := t.Context()
			if name == "silence" {
				short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				ctx = short
			}
			steps := newConnector(t, config).Verify(ctx, a)
			wantSteps(t, steps, c.want)
			if c.detail == "" {
				return
			}
			broken := failure(t, steps)
			if !strings.Contains(broken.Detail, c.detail) || strings.Contains(broken.Detail, "canary") {
				t.Errorf("detail %q does not say %q", broken.Detail, c.detail)
			}
			if c.as != nil && !c.as(broken.Err) {
				t.Errorf("error %#v (%v) is of another kind", broken.Err, broken.Err)
			}
		})
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func closedPort(t *testing.T) int {
	t.Helper()
	listener := listen(t)
	port := portOf(listener)
	listener.Close()
	return port
}

// silentPort accepts connections and says nothing.
func silentPort(t *testing.T) int {
	t.Helper()
	return portOf(listen(t)) // the kernel accepts
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func portOf(listener net.Listener) int {
	return int(netip.MustParseAddrPort(listener.Addr().String()).Port())
}

// An account that is not registered can be tried too, as validation does.
func TestVerifyUnregistered(t *testing.T) {
	t.Parallel()
	steps := newConnector(t, account.ConnectorConfig{Registry: newEnv(t).open(t)}).Verify(t.Context(), &account.Account{
		ID: "x", IMAP: account.Endpoint{Host: "127.0.0.1", Port: closedPort(t), Username: "ann", Password: secret.New("x")},
	})
	wantSteps(t, steps, "PFSSSS")
}

// smtpServer is an SMTP server that knows one user.
type smtpServer struct {
	username, password string
	mechanisms         []string

	mails *atomic.Int32
}

func (s *smtpServer) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &smtpSession{server: s}, nil
}

type smtpSession struct{ server *smtpServer }

func (*smtpSession) Reset()        {}
func (*smtpSession) Logout() error { return nil }
func (s *smtpSession) Mail(string, *smtp.MailOptions) error {
	s.server.mails.Add(1)
	return nil
}
func (*smtpSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*smtpSession) Data(io.Reader) error                 { return nil }

func (s *smtpSession) AuthMechanisms() []string { return s.server.mechanisms }

func (s *smtpSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(username, secret string) error {
		if username != s.server.username || secret != s.server.password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
		}
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, username, password string) error { return check(username, password) }), nil
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			if check(o.Username, o.Token) != nil {
				return &sasl.OAuthBearerError{Status: "invalid_token"}
			}
			return nil
		}), nil
	}
	return nil, &smtp.SMTPError{Code: 504, EnhancedCode: smtp.EnhancedCode{5, 5, 4}, Message: "broken mechanism"}
}

func startSMTP(t *testing.T, backend *smtpServer, config *tls.Config, implicit bool) int {
	t.Helper()
	server := smtp.NewServer(backend)
	server.AllowInsecureAuth = config == nil
	server.TLSConfig = config
	listener := listen(t)
	port := portOf(listener)
	if implicit {
		listener = tls.NewListener(listener, config)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends by Close
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return port
}

func TestVerifySMTP(t *testing.T) {
	t.Parallel()
	imap, registry := dovecottest.Shared(t), newEnv(t).open(t)
	certificate, pool, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	serverTLS := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	plain := []string{sasl.Plain}
	cases := map[string]struct {
		backend smtpServer
		mode    account.TLSMode
		change  func(*account.Endpoint)
		want    account.Outcome
		detail  string
	}{
		"TLS":                {backend: smtpServer{mechanisms: plain}, mode: account.TLS, want: account.StepPassed, detail: "PLAIN"},
		"STARTTLS":           {backend: smtpServer{mechanisms: plain}, mode: account.STARTTLS, want: account.StepPassed, detail: "PLAIN"},
		"in clear":           {backend: smtpServer{mechanisms: plain}, mode: account.Plaintext, want: account.StepPassed, detail: "PLAIN"},
		"a mechanism broken": {backend: smtpServer{mechanisms: []string{"SCRAM-SHA-256", sasl.Plain}}, mode: account.TLS, want: account.StepPassed, detail: "PLAIN"},
		"no mechanism":       {backend: smtpServer{mechanisms: []string{"GSSAPI"}}, mode: account.TLS, want: account.StepFailed, detail: "mechanism"},
		"wrong password":     {backend: smtpServer{mechanisms: plain, password: "other"}, mode: account.TLS, want: account.StepFailed, detail: "app password"},
		"credential of its own": {backend: smtpServer{mechanisms: plain, username: "relay", password: "relay-pw"}, mode: account.TLS,
			change: func(e *account.Endpoint) { e.Username, e.Password = "relay", secret.New("relay-pw") }, want: account.StepPassed, detail: "relay"},
		"OAuth 2.0": {backend: smtpServer{mechanisms: []string{sasl.OAuthBearer, sasl.Plain}, username: "relay", password: "access-1"}, mode: account.TLS,
			change: func(e *account.Endpoint) { e.Username, e.OAuth2 = "relay", oauthAnn(newProvider(t).URL).IMAP.OAuth2 },
			want:   account.StepPassed, detail: "OAUTHBEARER"},
		"nobody listens": {mode: account.TLS, change: func(e *account.Endpoint) { e.Port = closedPort(t) }, want: account.StepFailed, detail: "smtp.port"},
		"TLS where there is none": {backend: smtpServer{mechanisms: plain}, mode: account.Plaintext,
			change: func(e *account.Endpoint) { e.TLSMode = account.TLS }, want: account.StepFailed, detail: "STARTTLS"},
		"STARTTLS not offered": {backend: smtpServer{mechanisms: plain}, mode: account.Plaintext,
			change: func(e *account.Endpoint) { e.TLSMode = account.STARTTLS }, want: account.StepFailed, detail: "STARTTLS"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := dovecotAnn(t, imap)
			a.ID = ""
			backend := &c.backend
			backend.mails = new(atomic.Int32)
			if backend.username == "" {
				backend.username = a.IMAP.Username
			}
			if backend.password == "" {
				backend.password = a.IMAP.Password.Reveal()
			}
			config := serverTLS
			if c.mode == account.Plaintext {
				config = nil
			}
			a.SMTP = &account.Endpoint{Host: "127.0.0.1", Port: startSMTP(t, backend, config, c.mode == account.TLS), TLSMode: c.mode}
			if c.change != nil {
				c.change(a.SMTP)
			}
			a = create(t, registry, a)
			steps := newConnector(t, account.ConnectorConfig{Registry: registry, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}).
				Verify(t.Context(), a)
			step := steps[len(steps)-1]
			if step.Check != account.CheckSMTPAuth || step.Outcome != c.want || !strings.Contains(step.Detail, c.detail) {
				t.Errorf("step %+v, want %s that says %q", step, c.want, c.detail)
			}
			if backend.mails.Load() != 0 {
				t.Error("the trial began to send mail")
			}
		})
	}
}
