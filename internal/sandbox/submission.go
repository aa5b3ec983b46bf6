package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// newSubmission makes the SMTP server. It takes mail of the sandbox's users, and
// delivers it to those of them that it is for.
func (s *Server) newSubmission(logger smtp.Logger) *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &submission{server: s, client: c.Hostname()}, nil
	}))
	server.Domain = "sandbox.postern.example"
	server.ErrorLog = logger
	server.AllowInsecureAuth = true // it listens on loopback only
	server.EnableSMTPUTF8 = true
	server.MaxMessageBytes = 50 << 20
	server.ReadTimeout = 5 * time.Minute // RFC 5321 section 4.5.3.2.7
	server.WriteTimeout = time.Minute
	return server
}

// A submission is one SMTP session.
type submission struct {
	server   *Server
	client   string // what it called itself
	username string // empty before AUTH
	from     string
	to       []string
}

var _ smtp.AuthSession = (*submission)(nil)

// AuthMechanisms names the ways to log in.
func (s *submission) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth logs in with the same password as IMAP.
func (s *submission) Auth(mechanism string) (sasl.Server, error) {
	if mechanism != sasl.Plain {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return sasl.NewPlainServer(func(_, username, password string) error {
		a := s.server.account(username)
		if a == nil || a.user.Login(username, password) != nil {
			return smtp.ErrAuthFailed
		}
		s.username = username
		return nil
	}), nil
}

// Mail begins a message.
func (s *submission) Mail(from string, _ *smtp.MailOptions) error {
	if s.username == "" {
		return &smtp.SMTPError{ // RFC 4954 section 6
			Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required",
		}
	}
	s.from = from
	return nil
}

// Rcpt adds a recipient, who must be a user of the sandbox.
func (s *submission) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.account(to) == nil {
		return &smtp.SMTPError{ // RFC 3463 section 3.2
			Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "There is no such user in the sandbox",
		}
	}
	s.to = append(s.to, to)
	return nil
}

// Data delivers the message to each recipient's INBOX, with the trace fields of
// RFC 5321 section 4.4 on top.
func (s *submission) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	now := s.server.now()
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "Return-Path: <%s>\r\n", s.from)
	fmt.Fprintf(&raw, "Received: from %s by sandbox.postern.example with ESMTPA; %s\r\n", s.client, now.UTC().Format(dateLayout))
	raw.Write(body)
	for _, to := range s.to {
		if _, err := s.server.Deliver(context.Background(), to, inbox, raw.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Reset forgets the message.
func (s *submission) Reset() { s.from, s.to = "", nil }

// Logout ends the session.
func (s *submission) Logout() error { return nil }
