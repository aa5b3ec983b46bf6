package sandbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// The mailbox that holds the sample mail.
const (
	Username = "demo@postern.example"
	Password = "lighthouse"
)

// Config says how a sandbox behaves. The zero value is good to use.
type Config struct {
	// Now is the clock that the sample mail is dated by, so that it looks as
	// if it had come in the last days. It is time.Now by default.
	Now func() time.Time
	// Log gets what the IMAP server has to say, at debug level. By default
	// nobody does.
	Log *slog.Logger
	// Without has extensions that the IMAP server does without, to be like a
	// poorer one: it neither announces them nor answers as if it had them.
	Without []imap.Cap
}

// A Server is a running sandbox.
type Server struct {
	now         func() time.Time
	caps        imap.CapSet
	cas         *x509.CertPool
	imap        *imapserver.Server
	smtp        *smtp.Server
	ports       ports
	serving     errgroup.Group
	stopWaiting func() bool // for the end of the context
	closeOnce   sync.Once
	closeErr    error

	mu       sync.Mutex
	accounts map[string]*account
	closed   bool
	sessions sync.WaitGroup // added to under mu, while not closed
	newMail  int            // messages that NewMail has made
}

// Start makes a sandbox with the sample mailbox and serves it until the context
// ends or it is closed.
func Start(ctx context.Context, config Config) (*Server, error) {
	s := &Server{now: config.Now, caps: maps.Clone(capabilities), accounts: make(map[string]*account)}
	for _, without := range config.Without {
		delete(s.caps, without)
	}
	if s.now == nil {
		s.now = time.Now
	}
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := s.AddUser(Username, Password); err != nil {
		return nil, err
	}
	if err := s.addSamples(ctx); err != nil {
		return nil, err
	}
	certificate, cas, err := selfsigned.New()
	if err != nil {
		return nil, fmt.Errorf("make the sandbox's certificate: %w", err)
	}
	s.cas = cas
	if err := s.serve(ctx, certificate, log); err != nil {
		return nil, err
	}
	s.stopWaiting = context.AfterFunc(ctx, s.shutDown)
	return s, nil
}

// ports are where the server listens.
type ports struct{ imap, imaps, smtp, smtps *listener }

// listenAll opens all ports, or none.
func listenAll(ctx context.Context) (ports, error) {
	var p ports
	for _, l := range []**listener{&p.imap, &p.imaps, &p.smtp, &p.smtps} {
		var err error
		if *l, err = listen(ctx); err != nil {
			return ports{}, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func (p ports) close() error {
	var errs []error
	for _, l := range []*listener{p.imap, p.imaps, p.smtp, p.smtps} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// serve opens the ports and serves them in the background.
func (s *Server) serve(ctx context.Context, certificate tls.Certificate, log *slog.Logger) error {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.imap = imapserver.New(&imapserver.Options{
		NewSession:   s.newSession,
		Caps:         s.caps,
		Logger:       debugLogger{log, "imap: "},
		TLSConfig:    config,
		InsecureAuth: true, // it listens on loopback only
	})
	s.smtp = s.newSubmission(debugLogger{log, "smtp: "})
	s.smtp.TLSConfig = config
	var err error
	if s.ports, err = listenAll(ctx); err != nil {
		return err
	}
	for _, service := range []struct {
		serve    func(net.Listener) error
		listener net.Listener
	}{
		{s.imap.Serve, s.ports.imap},
		{s.imap.Serve, tls.NewListener(s.ports.imaps, config)},
		{s.smtp.Serve, s.ports.smtp},
		{s.smtp.Serve, tls.NewListener(s.ports.smtps, config)},
	} {
		s.serving.Go(func() error {
			if err := service.serve(service.listener); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return nil
}

// capabilities are those that need the sandbox's support; the server adds IDLE,
// ENABLE, UNSELECT and others that do not. IMAP4rev2 is left out on purpose:
// hardly a server out there has it.
var capabilities = imap.CapSet{
	imap.CapIMAP4rev1:        {},
	imap.CapNamespace:        {},
	imap.CapUIDPlus:          {},
	imap.CapESearch:          {},
	imap.CapSearchRes:        {},
	imap.CapListExtended:     {},
	imap.CapListStatus:       {},
	imap.CapMove:             {},
	imap.CapStatusSize:       {},
	imap.CapBinary:           {},
	imap.CapChildren:         {},
	imap.CapSpecialUse:       {},
	imap.CapCreateSpecialUse: {},
	imap.CapLiteralPlus:      {},
}

// debugLogger hands the servers' log lines to slog.
type debugLogger struct {
	log    *slog.Logger
	prefix string
}

func (l debugLogger) Printf(format string, args ...any) {
	l.log.Debug(l.prefix + fmt.Sprintf(format, args...))
}

func (l debugLogger) Println(args ...any) {
	l.log.Debug(l.prefix + strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

// Close ends the server and all its connections, and waits until they have
// ended. Its mail is gone.
func (s *Server) Close() error {
	s.stopWaiting()
	s.shutDown()
	return s.closeErr
}

func (s *Server) shutDown() {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true // no session starts from here on
		s.mu.Unlock()
		// With the ports and connections closed and the accepting done, the
		// servers have nothing left to do but to notice.
		s.closeErr = errors.Join(s.ports.close(), s.serving.Wait(), s.imap.Close())
		if err := s.smtp.Shutdown(context.Background()); err != nil && !errors.Is(err, net.ErrClosed) {
			s.closeErr = errors.Join(s.closeErr, err)
		}
		s.sessions.Wait()
	})
}

// AddUser adds a user whose mailbox is empty but for the usual folders.
func (s *Server) AddUser(username, password string) error {
	a, err := newAccount(username, password)
	if err != nil {
		return fmt.Errorf("make the folders of %s: %w", username, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[username] != nil {
		return fmt.Errorf("the sandbox has a user %s already", username)
	}
	s.accounts[username] = a
	return nil
}

// account gives the user of that name, or nil.
func (s *Server) account(username string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts[username]
}

// Deliver puts a message into a user's folder and tells all clients that idle
// on it. It gives the message's UID.
func (s *Server) Deliver(ctx context.Context, username, folder string, raw []byte) (imap.UID, error) {
	return s.append(ctx, username, folder, raw, &imap.AppendOptions{Time: s.now()})
}

func (s *Server) append(ctx context.Context, username, folder string, raw []byte, options *imap.AppendOptions) (imap.UID, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	a := s.account(username)
	if a == nil {
		return 0, fmt.Errorf("deliver to %s: the sandbox has no such user", username)
	}
	data, err := a.append(folder, newLiteral(raw), options)
	if err != nil {
		return 0, fmt.Errorf("deliver to %s, folder %q: %w", username, folder, err)
	}
	return data.UID, nil
}

// Host is the address that the server listens on, which its certificate names.
func (s *Server) Host() string { return loopback }

// Port is the port that speaks plain IMAP, with STARTTLS; passwords are taken
// without TLS, too.
func (s *Server) Port() int { return s.ports.imap.port() }

// TLSPort is the port that speaks IMAP in TLS from the start.
func (s *Server) TLSPort() int { return s.ports.imaps.port() }

// SMTPPort is the port that takes mail by SMTP, with STARTTLS. It asks for the
// same user name and password as IMAP.
func (s *Server) SMTPPort() int { return s.ports.smtp.port() }

// SMTPTLSPort is the port that takes mail by SMTP in TLS from the start.
func (s *Server) SMTPTLSPort() int { return s.ports.smtps.port() }

// Addr is the host and port of plain IMAP, with STARTTLS.
func (s *Server) Addr() string { return s.ports.imap.Addr().String() }

// TLSAddr is the host and port of IMAP in TLS from the start.
func (s *Server) TLSAddr() string { return s.ports.imaps.Addr().String() }

// CAs holds the authority that signed the server's certificate.
func (s *Server) CAs() *x509.CertPool { return s.cas }
