// Package smtptest is an SMTP submission server for tests, go-smtp's, that keeps
// what it is given and fails when it is told to.
package smtptest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// The one user of the server.
const (
	Username = "ann@example.org"
	Password = "sesame"
)

// Config says what a server is like. Hooks run on the goroutine of the session.
type Config struct {
	// TLS makes the server speak TLS from the first byte; STARTTLS makes it offer
	// the command, and no login without it.
	TLS, STARTTLS bool
	// Certificate is the server's; without it there is one for localhost, see
	// [Server.Roots].
	Certificate *tls.Certificate
	// Password is that of the one user; empty means [Password].
	Password string
	// MaxBytes is announced as SIZE, 0 for no limit.
	MaxBytes int64
	// NoUTF8 and NoDSN take the extensions away.
	NoUTF8, NoDSN bool
	// SizeOnly keeps the size of what is delivered, and nothing else of it.
	SizeOnly bool
	// Mail, Rcpt and Data answer the commands, Data once all of the message was
	// read. Nil accepts. An error that is an [*smtp.SMTPError] is the reply.
	Mail func(from string) error
	Rcpt func(to string) error
	Data func(*Delivery) error
	// Cut, where it returns true for a message, closes the connection without a
	// reply: CutBeforeEnd after its first bytes, CutAfterEnd when all of it was
	// read and kept.
	CutBeforeEnd, CutAfterEnd func(from string) bool
}

// Delivery is a message that the server took.
type Delivery struct {
	From string
	To   []string
	// Notify are the NOTIFY parameters, in the order of To.
	Notify  [][]smtp.DSNNotify
	Options smtp.MailOptions
	Data    []byte
	Size    int64
	// Session numbers the connections, from 1.
	Session int
}

// Server is a running server.
type Server struct {
	Host string
	Port int
	// Roots trust its certificate.
	Roots *x509.CertPool

	config Config

	mu         sync.Mutex
	deliveries []*Delivery
	sessions   int
	changed    chan struct{} // closed and replaced with each delivery
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, config Config) *Server {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	certificate, roots, err := selfsigned.New()
	if err != nil {
		tb.Fatal(err)
	}
	if config.Certificate != nil {
		certificate = *config.Certificate
	}
	address := listener.Addr().(*net.TCPAddr)
	if config.Password == "" {
		config.Password = Password
	}
	s := &Server{Host: "127.0.0.1", Port: address.Port, Roots: roots, config: config, changed: make(chan struct{})}
	server := smtp.NewServer(smtp.BackendFunc(s.newSession))
	server.Domain = "smtp.example.org"
	server.AllowInsecureAuth = !config.STARTTLS
	server.EnableSMTPUTF8, server.EnableDSN = !config.NoUTF8, !config.NoDSN
	server.MaxMessageBytes = config.MaxBytes
	server.ErrorLog = discard{}
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if config.STARTTLS {
		server.TLSConfig = tlsConfig
	}
	if config.TLS {
		listener = tls.NewListener(listener, tlsConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends by Close
	}()
	tb.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return s
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// Deliveries are the messages taken so far, in their order.
func (s *Server) Deliveries() []*Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Delivery(nil), s.deliveries...)
}

// Sessions is how many connections there were.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Wait waits until there are n deliveries and returns all there are.
func (s *Server) Wait(tb testing.TB, n int) []*Delivery {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		got, changed := append([]*Delivery(nil), s.deliveries...), s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-deadline.C:
			tb.Fatalf("the server was given %d messages, want %d", len(got), n)
		}
	}
}

func (s *Server) keep(d *Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, d)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) newSession(conn *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	return &session{server: s, conn: conn, number: s.sessions}, nil
}

// session is one connection.
type session struct {
	server   *Server
	conn     *smtp.Conn
	number   int
	loggedIn bool
	current  *Delivery
}

func (*session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != Username || password != s.server.config.Password {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *session) Mail(from string, options *smtp.MailOptions) error {
	if !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	s.current = &Delivery{From: from, Options: *options, Session: s.number}
	if hook := s.server.config.Mail; hook != nil {
		return hook(from)
	}
	return nil
}

func (s *session) Rcpt(to string, options *smtp.RcptOptions) error {
	if hook := s.server.config.Rcpt; hook != nil {
		if err := hook(to); err != nil {
			return err
		}
	}
	s.current.To = append(s.current.To, to)
	s.current.Notify = append(s.current.Notify, options.Notify)
	return nil
}

func (s *session) Data(r io.Reader) error {
	config := &s.server.config
	if config.CutBeforeEnd != nil && config.CutBeforeEnd(s.current.From) {
		_, _ = io.ReadFull(r, make([]byte, 1))
		return s.conn.Conn().Close()
	}
	var data bytes.Buffer
	to := io.Writer(&data)
	if config.SizeOnly {
		to = io.Discard
	}
	size, err := io.Copy(to, r)
	if err != nil {
		return err
	}
	s.current.Data, s.current.Size = data.Bytes(), size
	if config.Data != nil {
		if err := config.Data(s.current); err != nil {
			return err
		}
	}
	s.server.keep(s.current)
	if config.CutAfterEnd != nil && config.CutAfterEnd(s.current.From) {
		return s.conn.Conn().Close()
	}
	return nil
}

func (s *session) Reset()        { s.current = nil }
func (s *session) Logout() error { return nil }
