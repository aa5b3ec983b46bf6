package smtpconn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/eximtest"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// realServer is a server that people run, in front of an Exim that keeps what comes
// in.
type realServer struct {
	exim    *eximtest.Server
	restart func()
	// starttls and inTLS are how to reach it.
	starttls, inTLS smtpconn.Config
}

func toExim(t *testing.T, config eximtest.Config) *realServer {
	t.Helper()
	s := eximtest.Start(t, config)
	reach := smtpconn.Config{
		Host: s.Host(), Port: s.Port(), TLSMode: imapconn.ModeSTARTTLS, TLS: &tls.Config{RootCAs: s.Roots(), MinVersion: tls.VersionTLS12},
		Credentials: imapconn.Credentials{Username: "ann@example.org", Password: eximtest.Password},
	}
	inTLS := reach
	inTLS.Port, inTLS.TLSMode = s.TLSPort(), imapconn.ModeTLS
	return &realServer{exim: s, restart: func() { s.Restart(t) }, starttls: reach, inTLS: inTLS}
}

// toDovecot is Dovecot's submission service, which passes mail on to Exim.
func toDovecot(t *testing.T, config eximtest.Config) *realServer {
	t.Helper()
	exim := toExim(t, config)
	s := dovecottest.Start(t, dovecottest.Submission(exim.exim.Port(), "dovecot", eximtest.Password))
	reach := smtpconn.Config{
		Host: s.Host(), Port: s.SubmissionPort(), TLSMode: imapconn.ModeSTARTTLS, TLS: &tls.Config{RootCAs: s.CAs(), MinVersion: tls.VersionTLS12},
		Credentials: imapconn.Credentials{Username: "ann@example.org", Password: s.Password()},
	}
	inTLS := reach
	inTLS.Port, inTLS.TLSMode = s.SubmissionTLSPort(), imapconn.ModeTLS
	return &realServer{exim: exim.exim, restart: func() { s.Restart(t) }, starttls: reach, inTLS: inTLS}
}

// onRealServers runs a test with each of the servers.
func onRealServers(t *testing.T, config eximtest.Config, test func(t *testing.T, s *realServer)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T, eximtest.Config) *realServer{"Exim": toExim, "Dovecot": toDovecot} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, config))
		})
	}
}

// mustSend sends and checks that all recipients were taken.
func mustSend(t *testing.T, c *smtpconn.Conn, m *smtpconn.Message) {
	t.Helper()
	receipt, err := c.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for i, reply := range receipt.Recipients {
		if reply.Refused() || !receipt.Accepted {
			t.Fatalf("%s: %v, accepted: %v", m.Recipients[i].Address, reply, receipt.Accepted)
		}
	}
}

// eightBit has bytes that are not ASCII, lines that begin with dots, and a body that
// ends without an empty line.
const eightBit = "From: ann@example.org\r\nTo: bob@example.com\r\nSubject: Hi\r\nMessage-ID: <1@example.org>\r\nDate: Fri, 27 Nov 2026 06:00:00 +0000\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n.\r\n..dots\r\nFrom here\r\n"

func TestRealServersTakeMailAsItIs(t *testing.T) {
	t.Parallel()
	onRealServers(t, eximtest.Config{}, func(t *testing.T, s *realServer) {
		for i, config := range []smtpconn.Config{s.starttls, s.inTLS} {
			c := dial(t, config)
			m := message(eightBit, "bob@example.com")
			m.EightBit = true
			mustSend(t, c, m)
			mail := s.exim.Wait(t, i+1)[i]
			// What a server puts before a message is its own.
			if header, body := parts(mail); body != eightBit[strings.Index(eightBit, "\r\n\r\n")+4:] ||
				!strings.Contains(header, "Return-path: <ann@example.org>\r\nEnvelope-to: bob@example.com\r\n") {
				t.Errorf("delivered:\n%s", mail)
			}
		}
	})
}

// parts parts a message into its header and its body.
func parts(mail []byte) (header, body string) {
	header, body, _ = strings.Cut(string(mail), "\r\n\r\n")
	return header + "\r\n", body
}

func TestRealServersByEachMechanism(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) smtpconn.Config{
		"PLAIN": func(t *testing.T) smtpconn.Config { return toExim(t, eximtest.Config{}).starttls },
		"LOGIN": func(t *testing.T) smtpconn.Config { return toExim(t, eximtest.Config{NoPlain: true}).starttls },
		"SCRAM-SHA-256": func(t *testing.T) smtpconn.Config {
			return toDovecot(t, eximtest.Config{}).starttls
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := start(t)
			if got := dial(t, config).Mechanism(); got != name {
				t.Errorf("logged in by %s", got)
			}
			config.Credentials.Password = "wrong"
			if _, err := smtpconn.Dial(t.Context(), config); !isAuth(err) {
				t.Errorf("with a wrong password: %v", err)
			}
			config.TLSMode = imapconn.ModePlaintext
			if c, err := smtpconn.Dial(t.Context(), config); !isAuth(err) {
				t.Errorf("in clear: %v, %v", c, err)
			}
		})
	}
}

func TestRealServersRefuseRecipientsOneByOne(t *testing.T) {
	t.Parallel()
	onRealServers(t, eximtest.Config{}, func(t *testing.T, s *realServer) {
		c := dial(t, s.starttls)
		receipt, err := c.Send(t.Context(), message(hello, "refused@example.com", "bob@example.com", "later@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct {
			code     int
			enhanced string
		}{{550, "5.1.1"}, {250, ""}, {451, "4.2.1"}} {
			// Dovecot puts an enhanced code of its own before that of a server which
			// does not announce them.
			if reply := receipt.Recipients[i]; reply.Code != want.code || !strings.Contains(reply.String(), want.enhanced) {
				t.Errorf("recipient %d: %s, want %v", i, reply, want)
			}
		}
		if !receipt.Accepted {
			t.Errorf("not accepted: %+v", receipt)
		}
		// All refused is an answer, and the connection serves on.
		if receipt, err = c.Send(t.Context(), message(hello, "refused@example.com")); err != nil || receipt.Accepted {
			t.Fatalf("receipt %+v, error %v", receipt, err)
		}
		mustSend(t, c, message(hello, "bob@example.com"))
		s.exim.Wait(t, 2)
	})
}

func TestRealServersReportDelivery(t *testing.T) {
	t.Parallel()
	onRealServers(t, eximtest.Config{}, func(t *testing.T, s *realServer) {
		c := dial(t, s.starttls)
		if _, ok := c.Extension("DSN"); !ok {
			t.Fatal("the server has no DSN")
		}
		m := message(hello, "bob@example.com")
		m.Recipients[0].Notify = []smtp.DSNNotify{smtp.DSNNotifySuccess, smtp.DSNNotifyFailure}
		m.EnvelopeID, m.Return = "e1+x y", smtp.DSNReturnHeaders
		mustSend(t, c, m)
		i := slices.IndexFunc(s.exim.Wait(t, 2), func(mail []byte) bool { return bytes.Contains(mail, []byte("multipart/report")) })
		if i < 0 {
			t.Fatal("no report came")
		}
		report := string(s.exim.Wait(t, 2)[i])
		for _, want := range []string{"Original-Envelope-ID: e1+2Bx+20y", "Action: delivered", "bob@example.com"} {
			if !strings.Contains(strings.ToLower(report), strings.ToLower(want)) {
				t.Errorf("no %q in the report:\n%s", want, report)
			}
		}
	})
}

func TestRealServerTakesInternationalAddresses(t *testing.T) {
	t.Parallel()
	s := toExim(t, eximtest.Config{})
	c := dial(t, s.starttls)
	const text = "From: grüße@example.org\r\nTo: 漢字@example.com\r\nSubject: Grüße\r\nMessage-ID: <1@example.org>\r\n\r\nHello\r\n"
	m := message(text, "漢字@example.com")
	m.From, m.UTF8 = "grüße@example.org", true
	mustSend(t, c, m)
	if mail := s.exim.Wait(t, 1)[0]; !strings.Contains(string(mail), "Envelope-to: 漢字@example.com") || !strings.Contains(string(mail), "Subject: Grüße\r\n") {
		t.Errorf("delivered:\n%s", mail)
	}
	// Dovecot's submission service has no SMTPUTF8 as of 2.3, and is not bothered.
	front := dial(t, toDovecot(t, eximtest.Config{}).starttls)
	if _, ok := front.Extension("SMTPUTF8"); ok {
		return
	}
	m = message(text, "漢字@example.com")
	m.UTF8 = true
	if _, err := front.Send(t.Context(), m); !isExtension(err, "SMTPUTF8") {
		t.Errorf("without SMTPUTF8: %v", err)
	}
}

func isExtension(err error, name string) bool {
	lacking, ok := errors.AsType[*smtpconn.ExtensionError](err)
	return ok && lacking.Extension == name
}

func TestRealServersAndLargeMail(t *testing.T) {
	t.Parallel()
	const limit = 12 << 20
	onRealServers(t, eximtest.Config{MaxSize: limit}, func(t *testing.T, s *realServer) {
		c := dial(t, s.starttls)
		line := strings.Repeat("0123456789abcde ", 4) + "\r\n"
		large := "Subject: large\r\n\r\n" + strings.Repeat(line, 10<<20/len(line))
		mustSend(t, c, message(large, "bob@example.com"))
		if _, body := parts(s.exim.Wait(t, 1)[0]); len(body) != len(large)-len("Subject: large\r\n\r\n") {
			t.Errorf("%d bytes of body arrived", len(body))
		}
		// Too large is known from SIZE, before anything is sent; and where a size is
		// not told, from the refusal at the end.
		huge := large + large[:limit/2]
		if _, err := c.Send(t.Context(), message(huge, "bob@example.com")); !isTooLarge(err) {
			t.Errorf("too large: %v", err)
		}
		m := message(huge, "bob@example.com")
		m.Size = 0
		var refused *smtpconn.RefusedError
		if receipt, err := c.Send(t.Context(), m); !errors.As(err, &refused) || refused.Reply.Code != 552 {
			t.Errorf("too large, as seen at the end: %+v, %v", receipt, err)
		}
	})
}

// isTooLarge reports whether a message was refused for its size: by what the server
// announces, or by its answer to the SIZE parameter where it announces more than its
// own server takes.
func isTooLarge(err error) bool {
	var large *smtpconn.TooLargeError
	var refused *smtpconn.RefusedError
	return errors.As(err, &large) || errors.As(err, &refused) && refused.Command == "MAIL" && refused.Reply.Code == 552
}

func TestRealServersRestart(t *testing.T) {
	t.Parallel()
	onRealServers(t, eximtest.Config{}, func(t *testing.T, s *realServer) {
		pool := smtpconn.NewPool(smtpconn.PoolConfig{Config: func(context.Context) (smtpconn.Config, error) { return s.starttls, nil }, Size: 1, IdleTimeout: time.Minute})
		defer pool.Close()
		if err := send(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
		s.restart()
		// The connection at rest broke, which is found out before it is used.
		if err := send(t.Context(), pool); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		// In the midst of a message: it did not arrive, and that is known.
		c := dial(t, s.starttls)
		m := message("Subject: cut off\r\n\r\n"+strings.Repeat("0123456789\r\n", 1<<16), "bob@example.com")
		m.BeforeEnd = func(context.Context) error {
			s.restart()
			return nil
		}
		if _, err := c.Send(t.Context(), m); !isDoubt(err) && !isLeaving(err) {
			t.Errorf("cut off before the final dot was answered: %v", err)
		}
		if err := send(t.Context(), pool); err != nil {
			t.Errorf("after another restart: %v", err)
		}
		for _, mail := range s.exim.Wait(t, 3) {
			if bytes.Contains(mail, []byte("cut off")) {
				t.Errorf("a message without its end arrived:\n%.1000s", mail)
			}
		}
	})
}

func isDoubt(err error) bool {
	_, ok := errors.AsType[*smtpconn.UncertainError](err)
	return ok
}

// isLeaving reports whether the server said that it goes, and so that it takes
// nothing any more.
func isLeaving(err error) bool {
	refused, ok := errors.AsType[*smtpconn.RefusedError](err)
	return ok && refused.Reply.Code == 421
}
