package imapconn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
)

const (
	greet     = "S: * OK [CAPABILITY IMAP4rev1 %s] hello\n"
	authPlain = "AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=" // \0ann\0secret
)

func TestLogin(t *testing.T) {
	t.Parallel()
	token := func(context.Context) (string, error) { return "tok", nil }
	for _, tc := range []struct {
		name, caps, script string
		auth               *Auth
		check              func(t *testing.T, c *Conn, err error)
	}{
		{name: "PLAIN with an initial response", caps: "AUTH=PLAIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: $a OK [CAPABILITY IMAP4rev1 IDLE] in`, check: loggedIn},
		{name: "PLAIN in two steps, capabilities asked again", caps: "AUTH=PLAIN", script: `
			C: $a AUTHENTICATE PLAIN
			S: +
			C: AGFubgBzZWNyZXQ=
			S: $a OK in
			C: $b CAPABILITY
			S: * CAPABILITY IMAP4rev1 IDLE LOGINDISABLED
			S: $b OK done`, check: loggedIn},
		{name: "capabilities untagged after the login", caps: "AUTH=PLAIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: * CAPABILITY IMAP4rev1 IDLE
			S: $a OK in`, check: loggedIn},
		{name: "no capabilities in the greeting", script: `
			C: $c CAPABILITY
			S: * CAPABILITY IMAP4rev1
			S: $c OK done
			C: $a LOGIN "ann" "secret"
			S: $a OK [CAPABILITY IMAP4rev1 IDLE] in`, check: loggedIn, caps: "-"},
		{name: "LOGIN mechanism", caps: "AUTH=LOGIN SASL-IR", script: `
			C: $a AUTHENTICATE LOGIN
			S: + VXNlcm5hbWU6
			C: YW5u
			S: + UGFzc3dvcmQ6
			C: c2VjcmV0
			S: $a OK [CAPABILITY IMAP4rev1 IDLE] in`, check: loggedIn},
		{name: "a mechanism that does not work leads to the next", caps: "AUTH=PLAIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: $a BAD unknown command
			C: $b LOGIN "ann" "secret"
			S: $b OK [CAPABILITY IMAP4rev1 IDLE] in`, check: loggedIn},
		{name: "AUTHENTICATIONFAILED settles it", caps: "AUTH=PLAIN AUTH=LOGIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: $a NO [AUTHENTICATIONFAILED] wrong`, check: refusedBy("PLAIN")},
		{name: "a plain NO leads to one more way", caps: "AUTH=LOGIN", script: `
			C: $a AUTHENTICATE LOGIN
			S: + VXNlcm5hbWU6
			C: YW5u
			S: + UGFzc3dvcmQ6
			C: c2VjcmV0
			S: $a NO wrong`, check: refusedBy("LOGIN")},
		{name: "LOGINDISABLED is obeyed", caps: "LOGINDISABLED", check: refusedBy("")},
		{name: "throttling is not a wrong password", caps: "AUTH=PLAIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: $a BAD Request is throttled. Suggested Backoff Time: 30000 milliseconds`,
			check: func(t *testing.T, _ *Conn, err error) {
				var auth *AuthError
				if errors.As(err, &auth) {
					t.Errorf("%v is an AuthError", err)
				}
				if d, ok := RetryAfter(err); !ok || d != 30*time.Second {
					t.Errorf("RetryAfter(%v) = %v, %v", err, d, ok)
				}
			}},
		{name: "BYE at login says why", caps: "AUTH=PLAIN SASL-IR", script: `
			C: $a ` + authPlain + `
			S: * BYE [LIMIT] Too many simultaneous connections
			close`, check: func(t *testing.T, _ *Conn, err error) {
			var bye *ByeError
			if !errors.As(err, &bye) || bye.Code != imap.ResponseCodeLimit || !IsConnectionLimit(err) {
				t.Errorf("error %v", err)
			}
		}},
		{name: "XOAUTH2", caps: "AUTH=XOAUTH2 SASL-IR", auth: &Auth{Username: "ann", Token: token}, script: `
			C: $a AUTHENTICATE XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rAQE=
			S: $a OK [CAPABILITY IMAP4rev1 IDLE] in`, check: loggedIn},
		{name: "XOAUTH2 refused", caps: "AUTH=XOAUTH2 SASL-IR", auth: &Auth{Username: "ann", Token: token}, script: `
			C: $a AUTHENTICATE XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rAQE=
			S: + eyJzdGF0dXMiOiI0MDAifQ==
			C: 
			S: $a NO [AUTHENTICATIONFAILED] expired`, check: refusedBy("XOAUTH2")},
		{name: "a token is never sent by LOGIN", caps: "AUTH=PLAIN", auth: &Auth{Username: "ann", Token: token},
			check: refusedBy("")},
		{name: "the token endpoint is down", caps: "AUTH=XOAUTH2", auth: &Auth{Username: "ann",
			Token: func(context.Context) (string, error) { return "", errTokenEndpoint }},
			check: func(t *testing.T, _ *Conn, err error) {
				var auth *AuthError
				if !errors.Is(err, errTokenEndpoint) || errors.As(err, &auth) {
					t.Errorf("error %v", err)
				}
			}},
		{name: "a challenge that is not base64 ends the exchange", caps: "AUTH=PLAIN LOGINDISABLED", script: `
			C: $a AUTHENTICATE PLAIN
			S: +
			C: AGFubgBzZWNyZXQ=
			S: + !!!
			C: *
			S: $a BAD cancelled`,
			check: func(t *testing.T, _ *Conn, err error) {
				var refused *Error
				if !errors.As(err, &refused) || refused.Text != "cancelled" {
					t.Errorf("error %v", err)
				}
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			greeting := fmt.Sprintf(greet, tc.caps)
			if tc.caps == "-" {
				greeting = "S: * OK hello\n"
			}
			cfg := scripted(t, greeting+tc.script).config()
			if tc.auth != nil {
				cfg.Auth = *tc.auth
			}
			c, err := Dial(testContext(t), cfg)
			if c != nil {
				defer c.Close()
			}
			tc.check(t, c, err)
		})
	}
}

var errTokenEndpoint = errors.New("503")

func loggedIn(t *testing.T, c *Conn, err error) {
	if err != nil {
		t.Fatal(err)
	}
	if c.State() != imap.ConnStateAuthenticated || !c.Has(imap.CapIdle) {
		t.Errorf("state %v, capabilities %v", c.State(), c.Caps())
	}
}

func refusedBy(mechanism string) func(*testing.T, *Conn, error) {
	return func(t *testing.T, _ *Conn, err error) {
		var auth *AuthError
		if !errors.As(err, &auth) || auth.Mechanism != mechanism {
			t.Errorf("error %v, want an AuthError of %q", err, mechanism)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestGreeting(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		mode         TLSMode
		check        func(error) bool
	}{
		{name: "BYE", script: "S: * BYE [ALERT] Maximum number of connections", mode: ModePlaintext, check: func(err error) bool {
			var bye *ByeError
			return errors.As(err, &bye) && bye.Code == imap.ResponseCodeAlert && IsConnectionLimit(err)
		}},
		{name: "PREAUTH on a STARTTLS account", script: "S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi", mode: ModeSTARTTLS, check: isTLSError},
		{name: "STARTTLS not offered", script: "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi", mode: ModeSTARTTLS, check: isTLSError},
		{name: "STARTTLS refused", script: "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi\nC: $t STARTTLS\nS: $t NO no", mode: ModeSTARTTLS, check: isTLSError},
		{name: "data injected behind STARTTLS", mode: ModeSTARTTLS,
			script: `S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi
				C: $t STARTTLS
				S: $t OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN`,
			check: isTLSError},
		{name: "not TLS", script: "S: * OK hi\nignore", mode: ModeTLS, check: isTLSError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := scripted(t, tc.script).config()
			cfg.TLSMode = tc.mode
			c, err := Dial(testContext(t), cfg)
			if err == nil {
				c.Close()
			}
			if !tc.check(err) {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
}

func isTLSError(err error) bool {
	var e *TLSError
	return errors.As(err, &e)
}

func TestDovecotMechanisms(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", loginCommand} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			username, password := srv.User(t)
			for _, wrong := range []bool{false, true} {
				cfg := dovecotConfig(srv, username, ModeTLS)
				c, err := connect(testContext(t), &cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.greeting(testContext(t), &cfg); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Capability(testContext(t)); err != nil {
					t.Fatal(err)
				}
				cred := &Credentials{Username: username, Password: password, Host: cfg.Host, Port: cfg.Port}
				if strings.Contains(mechanism, "OAUTH") {
					cred.Password, cred.Token = "", password
				}
				if wrong {
					cred.Password += "x"
					if cred.Token != "" {
						cred.Password, cred.Token = "", "x"
					}
				}
				err = c.authenticate(testContext(t), mechanism, cred)
				var refused *Error
				if !wrong && err != nil || wrong && !errors.As(err, &refused) {
					t.Errorf("wrong = %v: error %v", wrong, err)
				}
				if wrong && refused != nil && !settled(err) {
					t.Errorf("%v does not settle the matter", err)
				}
			}
		})
	}
}

func TestDovecotWrongPassword(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	cfg := dovecotConfig(srv, username, ModeTLS)
	cfg.Auth.Password = "wrong"
	_, err := Dial(testContext(t), cfg)
	var auth *AuthError
	if !errors.As(err, &auth) {
		t.Fatalf("error %v", err)
	}
}

func TestDovecotUntrustedCertificate(t *testing.T) {
	t.Parallel()
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	for _, mode := range []TLSMode{ModeTLS, ModeSTARTTLS} {
		cfg := dovecotConfig(srv, username, mode)
		cfg.TLS = nil
		if _, err := Dial(testContext(t), cfg); !isTLSError(err) {
			t.Errorf("%v: error %v", mode, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	cfg := Config{Host: "mail.example.org", Auth: Auth{Username: "ann", Password: "hunter2"}}
	cred := Credentials{Username: "ann", Password: "hunter2", Token: "hunter2"}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "cfg", cfg, "auth", cfg.Auth, "cred", cred)
	asJSON, err := json.Marshal([]any{cfg.Auth, cred})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v", cfg.Auth, cfg.Auth, cfg.Auth),
		fmt.Sprintf("%v %+v %#v", cred, cred, cred), logged.String(), string(asJSON),
	} {
		if strings.Contains(s, "hunter2") || !strings.Contains(s, redacted) {
			t.Errorf("printed %q", s)
		}
	}
}

func TestIgnoredCapability(t *testing.T) {
	t.Parallel()
	c := dialScript(t, "IDLE UIDPLUS", "")
	other := dialScript(t, "IDLE UIDPLUS", "")
	c.Ignore(imap.CapIdle)
	if c.Has(imap.CapIdle) || !c.Has(imap.CapUIDPlus) || !other.Has(imap.CapIdle) {
		t.Errorf("capabilities %v, another connection's %v", c.Caps(), other.Caps())
	}
}
