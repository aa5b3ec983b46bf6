package sandbox_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/sandbox"
)

const outgoing = "From: demo@postern.example\r\nTo: demo@postern.example\r\nSubject: Note to self\r\n\r\n.dot\r\n"

func TestSubmission(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		port func(*sandbox.Server) int
		dial func(addr string, config *tls.Config) (*smtp.Client, error)
	}{
		{"plain", (*sandbox.Server).SMTPPort, func(addr string, _ *tls.Config) (*smtp.Client, error) { return smtp.Dial(addr) }},
		{"STARTTLS", (*sandbox.Server).SMTPPort, smtp.DialStartTLS},
		{"TLS", (*sandbox.Server).SMTPTLSPort, smtp.DialTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			addr := net.JoinHostPort(s.Host(), strconv.Itoa(tt.port(s)))
			c, err := tt.dial(addr, &tls.Config{RootCAs: s.CAs(), ServerName: s.Host()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantCode(t, "MAIL before AUTH", c.Mail(sandbox.Username, nil), 530)
			wantCode(t, "AUTH with a wrong password", c.Auth(sasl.NewPlainClient("", sandbox.Username, "wrong")), 535)
			if err := c.Auth(sasl.NewPlainClient("", sandbox.Username, sandbox.Password)); err != nil {
				t.Fatal(err)
			}
			if err := c.Mail(sandbox.Username, nil); err != nil {
				t.Fatal(err)
			}
			wantCode(t, "RCPT of a stranger", c.Rcpt("stranger@example.com", nil), 550)
			if err := c.Rcpt(sandbox.Username, nil); err != nil {
				t.Fatal(err)
			}
			w, err := c.Data()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, outgoing); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			raw := lastMessage(t, s)
			if !strings.HasPrefix(raw, "Return-Path: <"+sandbox.Username+">\r\nReceived: from ") || !strings.HasSuffix(raw, "\r\n"+outgoing) {
				t.Errorf("delivered %q", raw)
			}
		})
	}
}

func wantCode(t *testing.T, act string, err error, want int) {
	t.Helper()
	var refused *smtp.SMTPError
	if !errors.As(err, &refused) || refused.Code != want {
		t.Errorf("%s: %v, want code %d", act, err, want)
	}
}

func lastMessage(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	c := client(t, s, nil)
	n := selectFolder(t, c, "INBOX").NumMessages
	section := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.SeqSetNum(n), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	return string(messages[0].FindBodySection(section))
}
