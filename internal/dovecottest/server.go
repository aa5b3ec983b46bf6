package dovecottest

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/daemontest"
)

// host is what the configuration templates listen on.
const host = "127.0.0.1"

// A Server is a running Dovecot. Its methods may be called by several tests at
// the same time, but for Stop and Restart.
type Server struct {
	install installation
	config  config
	ca      *x509.Certificate
	process *daemontest.Process // nil when stopped
	shared  bool
}

// Start runs a Dovecot for this test alone and ends it with the test. It fails
// the test, and says what to install, when there is no Dovecot.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s, err := start(opts)
	if err != nil {
		tb.Fatalf("start Dovecot: %v", err)
	}
	tb.Cleanup(func() {
		if s.process != nil {
			s.process.Stop()
		}
		s.logIfFailed(tb, 0)
		if err := daemontest.RemoveDir(s.config.Dir); err != nil {
			tb.Errorf("remove Dovecot's files: %v", err)
		}
	})
	return s
}

// sharedServer starts the server of [Shared]. Nobody needs to stop it: it ends
// when the test binary does, see wardenScript.
var sharedServer = sync.OnceValues(func() (*Server, error) {
	s, err := start(nil)
	if err == nil {
		s.shared = true
	}
	return s, err
})

// Shared gives the server that all tests of this test binary have in common,
// with the default settings; the first call starts it. A test takes a fresh
// user of it ([Server.User]) and must not stop it.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	s, err := sharedServer()
	if err != nil {
		tb.Fatalf("start Dovecot: %v", err)
	}
	before := len(s.log())
	tb.Cleanup(func() { s.logIfFailed(tb, before) })
	return s
}

// start runs a server, proposing other ports while the proposed ones are taken.
func start(opts []Option) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), daemontest.StartTimeout)
	defer cancel()
	s := &Server{config: config{
		settings:   defaultSettings(),
		Root:       os.Geteuid() == 0,
		SpecialUse: specialUses,
	}}
	for _, opt := range opts {
		opt(&s.config.settings)
	}
	if s.install, err = findInstallation(ctx); err != nil {
		return nil, err
	}
	if s.config.Owner, err = findOwner(); err != nil {
		return nil, err
	}
	if s.config.Dir, err = makeDir(s.config.Owner); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.log())
			_ = daemontest.RemoveDir(s.config.Dir)
		}
	}()
	if s.ca, err = writeCertificate(s.config.Dir, s.config.Names); err != nil {
		return nil, err
	}
	for {
		s.config.choosePorts()
		if err = s.config.write(s.install.dialect); err != nil {
			return nil, err
		}
		if err = s.run(ctx); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || !bytes.Contains(s.log(), []byte("Address already in use")) {
			return nil, err
		}
		if err = os.Truncate(s.logPath(), 0); err != nil {
			return nil, err
		}
	}
}

// run starts the process and waits until it serves.
func (s *Server) run(ctx context.Context) error {
	cmd := exec.Command(s.install.dovecot, "-F", "-c", filepath.Join(s.config.Dir, "dovecot.conf"))
	p, err := daemontest.Start(cmd, s.config.Dir, s.logPath())
	if err != nil {
		return err
	}
	if err := p.WaitUntilReady(ctx, s.Addr(), "* OK "); err != nil {
		p.Stop()
		return err
	}
	s.process = p
	return nil
}

// Stop ends the server: all its connections break and new ones are refused. It
// keeps its mail and its ports for Restart.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if s.shared {
		tb.Fatal("a test must not stop the shared Dovecot")
	}
	if s.process == nil {
		return
	}
	s.process.Stop()
	s.process = nil
}

// Restart ends the server, if it runs, and starts it on the same ports, with
// the same mail.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop(tb)
	ctx, cancel := context.WithTimeout(context.Background(), daemontest.StartTimeout)
	defer cancel()
	if err := s.run(ctx); err != nil {
		tb.Fatalf("restart Dovecot: %v", err)
	}
}

// Host is the address that the server listens on; its certificate names it, and
// "localhost".
func (s *Server) Host() string { return host }

// Port is the port that speaks plain IMAP, with STARTTLS.
func (s *Server) Port() int { return s.config.Port }

// TLSPort is the port that speaks TLS from the start.
func (s *Server) TLSPort() int { return s.config.TLSPort }

// Addr is the host and port of plain IMAP, with STARTTLS.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host(), strconv.Itoa(s.Port())) }

// TLSAddr is the host and port of TLS from the start.
func (s *Server) TLSAddr() string { return net.JoinHostPort(s.Host(), strconv.Itoa(s.TLSPort())) }

// LMTPPort is the port that takes mail for users by LMTP, 0 without [LMTP].
func (s *Server) LMTPPort() int { return s.config.LMTPPort }

// SubmissionPort is the port of the submission service, with STARTTLS; 0 without
// [Submission].
func (s *Server) SubmissionPort() int { return s.config.SubmissionPort }

// SubmissionTLSPort is the port of the submission service that speaks TLS from the
// start.
func (s *Server) SubmissionTLSPort() int { return s.config.SubmissionTLSPort }

// CAs holds the authority that signed the server's certificate.
func (s *Server) CAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	return pool
}

// Certificate is the certificate of that authority, in DER.
func (s *Server) Certificate() []byte { return s.ca.Raw }

func (s *Server) logPath() string { return filepath.Join(s.config.Dir, "dovecot.log") }

// log reads what Dovecot has logged so far; nothing yet is an empty log.
func (s *Server) log() []byte {
	log, err := os.ReadFile(s.logPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Appendf(nil, "(the log cannot be read: %v)", err)
	}
	return log
}

// logIfFailed shows the end of what Dovecot has logged since the log was that
// long.
func (s *Server) logIfFailed(tb testing.TB, since int) {
	tb.Helper()
	if !tb.Failed() {
		return
	}
	const limit = 32 << 10
	log := s.log()
	log = log[min(since, len(log)):]
	tb.Logf("Dovecot's log:\n%s", log[max(0, len(log)-limit):])
}
