package smtpconn_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
	"github.com/postern-mail/postern/internal/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configOf is how to reach a test server.
func configOf(s *smtptest.Server, mode imapconn.TLSMode) smtpconn.Config {
	return smtpconn.Config{
		Host: s.Host, Port: s.Port, TLSMode: mode,
		TLS:         &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12},
		Credentials: imapconn.Credentials{Username: smtptest.Username, Password: smtptest.Password},
	}
}

func dial(t *testing.T, config smtpconn.Config) *smtpconn.Conn {
	t.Helper()
	c, err := smtpconn.Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func message(body string, to ...string) *smtpconn.Message {
	m := &smtpconn.Message{From: "ann@example.org", Body: strings.NewReader(body), Size: int64(len(body))}
	for _, address := range to {
		m.Recipients = append(m.Recipients, smtpconn.Recipient{Address: address})
	}
	return m
}

const hello = "Subject: Hi\r\n\r\nHello\r\n.\r\n..dots\r\n"

func TestMessageArrivesAsItIs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		server smtptest.Config
		mode   imapconn.TLSMode
	}{
		"TLS":      {smtptest.Config{TLS: true}, imapconn.ModeTLS},
		"STARTTLS": {smtptest.Config{STARTTLS: true}, imapconn.ModeSTARTTLS},
		"in clear": {smtptest.Config{}, imapconn.ModePlaintext},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, test.server)
			c := dial(t, configOf(server, test.mode))
			m := message(hello, "bob@example.com", "eve@example.com")
			m.Recipients[1].Notify = []smtp.DSNNotify{smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed}
			m.EnvelopeID, m.Return = "e1+x", smtp.DSNReturnHeaders
			receipt, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if !receipt.Accepted || len(receipt.Recipients) != 2 || receipt.Recipients[0].Code != 250 || receipt.Final.Code != 250 {
				t.Errorf("receipt %+v", receipt)
			}
			got := server.Wait(t, 1)[0]
			if string(got.Data) != hello || got.From != "ann@example.org" || fmt.Sprint(got.To) != "[bob@example.com eve@example.com]" {
				t.Errorf("the server was given %+v with %q", got, got.Data)
			}
			if got.Options.EnvelopeID != "e1+x" || got.Options.Return != smtp.DSNReturnHeaders || len(got.Notify[1]) != 2 {
				t.Errorf("DSN options %+v, %v", got.Options, got.Notify)
			}
		})
	}
}

func TestRecipientsAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{Rcpt: func(to string) error {
		switch to {
		case "nobody@example.com":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such\x01 user"}
		case "busy@example.com":
			return &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "later"}
		}
		return nil
	}})
	c := dial(t, configOf(server, imapconn.ModePlaintext))
	receipt, err := c.Send(t.Context(), message(hello, "nobody@example.com", "bob@example.com", "busy@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	want := []smtpconn.Reply{{Code: 550, Enhanced: "5.1.1", Text: "no such user"}, {Code: 250}, {Code: 450, Enhanced: "4.2.1", Text: "later"}}
	if fmt.Sprint(receipt.Recipients) != fmt.Sprint(want) || !receipt.Accepted {
		t.Errorf("receipt %+v, want recipients %v", receipt, want)
	}
	if !receipt.Recipients[2].Temporary() || receipt.Recipients[0].Temporary() {
		t.Error("450 is for now, 550 for good")
	}
	// All refused: an answer, not an error, and the connection serves on.
	receipt, err = c.Send(t.Context(), message(hello, "nobody@example.com"))
	if err != nil || receipt.Accepted {
		t.Fatalf("receipt %+v, error %v", receipt, err)
	}
	if _, err := c.Send(t.Context(), message(hello, "bob@example.com")); err != nil {
		t.Fatal(err)
	}
	if got := server.Wait(t, 2); len(got) != 2 || server.Sessions() != 1 {
		t.Errorf("%d deliveries over %d sessions", len(got), server.Sessions())
	}
}

func TestRefusalsOfTheWholeMessage(t *testing.T) {
	t.Parallel()
	refuse := func(code int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 3, 2}, Message: "no"}
	}
	for name, test := range map[string]struct {
		config  smtptest.Config
		command string
		code    int
		usable  bool
	}{
		"MAIL for now":        {smtptest.Config{Mail: func(string) error { return refuse(451) }}, "MAIL", 451, true},
		"MAIL for good":       {smtptest.Config{Mail: func(string) error { return refuse(553) }}, "MAIL", 553, true},
		"the server leaves":   {smtptest.Config{Mail: func(string) error { return refuse(421) }}, "MAIL", 421, false},
		"the end of the data": {smtptest.Config{Data: func(*smtptest.Delivery) error { return refuse(554) }}, "the end of DATA", 554, true},
		"it leaves at the end": {
			smtptest.Config{Data: func(*smtptest.Delivery) error { return refuse(421) }}, "the end of DATA", 421, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, test.config)
			c := dial(t, configOf(server, imapconn.ModePlaintext))
			_, err := c.Send(t.Context(), message(hello, "bob@example.com"))
			refusal, ok := errors.AsType[*smtpconn.RefusedError](err)
			if !ok || refusal.Command != test.command || refusal.Reply.Code != test.code || refusal.Reply.Text != "no" {
				t.Fatalf("error %v", err)
			}
			if usable := c.Reset(t.Context()) == nil; usable != test.usable {
				t.Errorf("usable afterwards: %v, want %v", usable, test.usable)
			}
			if got := server.Deliveries(); len(got) != 0 {
				t.Errorf("%d deliveries", len(got))
			}
		})
	}
}

func TestBrokenLinksAreToldApart(t *testing.T) {
	t.Parallel()
	always := func(string) bool { return true }
	big := "Subject: Big\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 1<<16)
	t.Run("before the end", func(t *testing.T) {
		t.Parallel()
		server := smtptest.Start(t, smtptest.Config{CutBeforeEnd: always})
		c := dial(t, configOf(server, imapconn.ModePlaintext))
		_, err := c.Send(t.Context(), message(big, "bob@example.com"))
		if _, uncertain := errors.AsType[*smtpconn.UncertainError](err); uncertain {
			t.Errorf("a message without its end cannot have been accepted: %v", err)
		}
		if _, ok := errors.AsType[*imapconn.NetworkError](err); !ok {
			t.Errorf("error %T %v", err, err)
		}
	})
	t.Run("after the end", func(t *testing.T) {
		t.Parallel()
		server := smtptest.Start(t, smtptest.Config{CutAfterEnd: always})
		c := dial(t, configOf(server, imapconn.ModePlaintext))
		receipt, err := c.Send(t.Context(), message(hello, "bob@example.com"))
		if _, uncertain := errors.AsType[*smtpconn.UncertainError](err); !uncertain {
			t.Errorf("error %T %v", err, err)
		}
		if receipt == nil || receipt.Accepted || receipt.Recipients[0].Code != 250 {
			t.Errorf("receipt %+v", receipt)
		}
		if got := server.Deliveries(); len(got) != 1 {
			t.Errorf("%d deliveries", len(got))
		}
	})
	t.Run("canceled while the server thinks", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		held := make(chan struct{})
		server := smtptest.Start(t, smtptest.Config{Data: func(*smtptest.Delivery) error {
			cancel()
			<-held
			return nil
		}})
		defer close(held)
		c := dial(t, configOf(server, imapconn.ModePlaintext))
		_, err := c.Send(ctx, message(hello, "bob@example.com"))
		_, uncertain := errors.AsType[*smtpconn.UncertainError](err)
		if !uncertain || !errors.Is(err, context.Canceled) {
			t.Errorf("error %T %v", err, err)
		}
	})
}

func TestNothingIsAcceptedWhatFailsBeforeTheEnd(t *testing.T) {
	t.Parallel()
	errMine := errors.New("mine")
	for name, spoil := range map[string]func(*smtpconn.Message){
		"the source":      func(m *smtpconn.Message) { m.Body = io.MultiReader(m.Body, failingReader{errMine}) },
		"the last moment": func(m *smtpconn.Message) { m.BeforeEnd = func(context.Context) error { return errMine } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, smtptest.Config{})
			c := dial(t, configOf(server, imapconn.ModePlaintext))
			m := message(hello, "bob@example.com")
			spoil(m)
			_, err := c.Send(t.Context(), m)
			if _, uncertain := errors.AsType[*smtpconn.UncertainError](err); uncertain || !errors.Is(err, errMine) {
				t.Errorf("error %T %v", err, err)
			}
			if err := c.Reset(t.Context()); err == nil {
				t.Error("the connection is still used in the midst of a message")
			}
			// The next message proves that the server got nothing of the last one.
			next := dial(t, configOf(server, imapconn.ModePlaintext))
			if _, err := next.Send(t.Context(), message(hello, "bob@example.com")); err != nil {
				t.Fatal(err)
			}
			if got := server.Deliveries(); len(got) != 1 || got[0].Session != 2 {
				t.Errorf("%d deliveries", len(got))
			}
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestWhatTheServerCannotTakeIsNotSent(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{MaxBytes: 100, NoUTF8: true})
	c := dial(t, configOf(server, imapconn.ModePlaintext))
	_, err := c.Send(t.Context(), message(strings.Repeat("x", 101), "bob@example.com"))
	large, ok := errors.AsType[*smtpconn.TooLargeError](err)
	if !ok || large.Limit != 100 || large.Actual != 101 {
		t.Errorf("too large: %v", err)
	}
	m := message(hello, "bøb@example.com")
	m.UTF8 = true
	_, err = c.Send(t.Context(), m)
	lacking, ok := errors.AsType[*smtpconn.ExtensionError](err)
	if !ok || lacking.Extension != "SMTPUTF8" {
		t.Errorf("SMTPUTF8: %v", err)
	}
	if _, err := c.Send(t.Context(), message(hello, "bob@example.com")); err != nil {
		t.Errorf("the connection does not serve on: %v", err)
	}
}

func TestAddressesCannotBreakOut(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{})
	for _, address := range []string{"bob@example.com>\r\nRCPT TO:<eve@example.com", "a\nb@example.com", "a\rb@example.com"} {
		c := dial(t, configOf(server, imapconn.ModePlaintext))
		if receipt, err := c.Send(t.Context(), message(hello, address)); err == nil {
			t.Errorf("%q: sent, %+v", address, receipt)
		}
		m := message(hello, "bob@example.com")
		m.From = address
		if _, err := c.Send(t.Context(), m); err == nil {
			t.Errorf("from %q: sent", address)
		}
	}
	if got := server.Deliveries(); len(got) != 0 {
		t.Errorf("%d deliveries", len(got))
	}
}

func TestLoginsThatFail(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Config{})
	config := configOf(server, imapconn.ModePlaintext)
	config.Credentials.Password = "wrong"
	if _, err := smtpconn.Dial(t.Context(), config); !isAuth(err) {
		t.Errorf("wrong password: %v", err)
	}
	strict := smtptest.Start(t, smtptest.Config{STARTTLS: true})
	if _, err := smtpconn.Dial(t.Context(), configOf(strict, imapconn.ModePlaintext)); !isAuth(err) {
		t.Errorf("no mechanism in clear: %v", err)
	}
	var tlsErr *imapconn.TLSError
	if _, err := smtpconn.Dial(t.Context(), configOf(server, imapconn.ModeSTARTTLS)); !errors.As(err, &tlsErr) {
		t.Errorf("STARTTLS not offered: %v", err)
	}
	config = configOf(strict, imapconn.ModeSTARTTLS)
	config.TLS = nil
	if _, err := smtpconn.Dial(t.Context(), config); !errors.As(err, &tlsErr) {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

func isAuth(err error) bool {
	_, ok := errors.AsType[*imapconn.AuthError](err)
	return ok
}

// serveRaw is a server that says what serve writes.
func serveRaw(t *testing.T, serve func(net.Conn)) smtpconn.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return smtpconn.Config{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLSMode: imapconn.ModePlaintext}
}

func TestHostileServers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve func(net.Conn)
		mode  imapconn.TLSMode
		check func(error) bool
	}{
		"an answer without end": {
			serve: func(c net.Conn) {
				for {
					if _, err := io.WriteString(c, "220-"+strings.Repeat("x", 900)+"\r\n"); err != nil {
						return
					}
				}
			},
			check: func(err error) bool { return err != nil },
		},
		"a line without end": {
			serve: func(c net.Conn) {
				for {
					if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
						return
					}
				}
			},
			check: func(err error) bool { return err != nil },
		},
		"no greeting": {
			serve: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
			check: func(err error) bool { _, ok := errors.AsType[*imapconn.TimeoutError](err); return ok },
		},
		"greets with a refusal": {
			serve: func(c net.Conn) { _, _ = io.WriteString(c, "554 5.7.1 go away\r\n") },
			check: func(err error) bool {
				refusal, ok := errors.AsType[*smtpconn.RefusedError](err)
				return ok && refusal.Reply.Enhanced == "5.7.1" && !refusal.Temporary()
			},
		},
		"no SMTP": {
			serve: func(c net.Conn) { _, _ = io.WriteString(c, "* OK IMAP4rev1 at your service\r\n") },
			check: func(err error) bool { _, ok := errors.AsType[*imapconn.ProtocolError](err); return ok },
		},
		"strips STARTTLS": {
			serve: func(c net.Conn) {
				_, _ = io.WriteString(c, "220 hi\r\n")
				_, _ = bufio.NewReader(c).ReadString('\n')
				_, _ = io.WriteString(c, "250-hi\r\n250 AUTH PLAIN\r\n")
				_, _ = io.Copy(io.Discard, c)
			},
			mode:  imapconn.ModeSTARTTLS,
			check: func(err error) bool { _, ok := errors.AsType[*imapconn.TLSError](err); return ok },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := serveRaw(t, test.serve)
			config.CommandTimeout = 2 * time.Second
			if test.mode != imapconn.ModeTLS {
				config.TLSMode = test.mode
			}
			config.Credentials = imapconn.Credentials{Username: "ann", Password: "sesame"}
			_, err := smtpconn.Dial(t.Context(), config)
			if !test.check(err) {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	config := serveRaw(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	if _, err := smtpconn.Dial(ctx, config); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
