package eximtest

import (
	"bytes"
	"context"
	"crypto/x509"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/postern-mail/postern/internal/daemontest"
)

const host = "127.0.0.1"

// Password is the password of every user.
const Password = "open-sesame"

//go:embed conf/exim.conf.tmpl
var templates embed.FS

var configTemplate = template.Must(template.ParseFS(templates, "conf/*.tmpl"))

// Config says what a server is like.
type Config struct {
	// LMTP is the port of 127.0.0.1 that mail is delivered to by LMTP; 0 puts it
	// into files, see [Server.Wait].
	LMTP int
	// MaxSize is announced as SIZE; 0 means 20 MiB.
	MaxSize int
	// NoPlain takes the mechanism PLAIN away, which leaves LOGIN.
	NoPlain bool
}

// Server is a running Exim. Its methods may be called by several goroutines at the
// same time, but for Stop and Restart.
type Server struct {
	program string
	owner   *owner
	config  settings
	roots   *x509.CertPool
	// certificate is the server's, its own authority.
	certificate []byte
	process     *daemontest.Process // nil when stopped
}

// settings is what the configuration is made of.
type settings struct {
	Config
	Dir, User, Group, Password string
	Port, TLSPort              int
}

// Start runs an Exim for this test alone and ends it with the test. It fails the
// test, and says what to install, when there is no Exim.
func Start(tb testing.TB, config Config) *Server {
	tb.Helper()
	s, err := start(config)
	if err != nil {
		tb.Fatalf("start Exim: %v", err)
	}
	tb.Cleanup(func() {
		s.Stop(tb)
		if tb.Failed() {
			tb.Logf("Exim's log:\n%s", s.log())
		}
		if err := daemontest.RemoveDir(s.config.Dir); err != nil {
			tb.Errorf("remove Exim's files: %v", err)
		}
	})
	return s
}

func start(config Config) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), daemontest.StartTimeout)
	defer cancel()
	s := &Server{config: settings{Config: config, Password: Password}}
	if s.config.MaxSize == 0 {
		s.config.MaxSize = 20 << 20
	}
	if s.program, err = findExim(); err != nil {
		return nil, err
	}
	if s.owner, err = findOwner(); err != nil {
		return nil, err
	}
	s.config.User, s.config.Group = s.owner.user, s.owner.group
	if s.config.Dir, err = os.MkdirTemp("", "exim"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.log())
			_ = daemontest.RemoveDir(s.config.Dir)
		}
	}()
	if s.certificate, s.roots, err = s.owner.furnish(s.config.Dir); err != nil {
		return nil, err
	}
	for {
		s.config.Port, s.config.TLSPort = daemontest.FreePort(), daemontest.FreePort()
		if err = s.configure(); err != nil {
			return nil, err
		}
		if err = s.run(ctx); err == nil || ctx.Err() != nil || !bytes.Contains(s.log(), []byte("Address already in use")) {
			return s, err
		}
		if err = os.Truncate(s.logPath("main"), 0); err != nil {
			return nil, err
		}
	}
}

func findExim() (string, error) {
	const advice = "the tests need the mail server Exim (Debian, Ubuntu: apt-get install exim4-daemon-light; Fedora: dnf install exim; macOS: brew install exim)"
	if path, err := daemontest.FindProgram("exim4", advice); err == nil {
		return path, nil
	}
	return daemontest.FindProgram("exim", advice)
}

func (s *Server) configPath() string { return filepath.Join(s.config.Dir, "exim.conf") }

func (s *Server) configure() error {
	var text bytes.Buffer
	if err := configTemplate.ExecuteTemplate(&text, "exim.conf.tmpl", s.config); err != nil {
		return err
	}
	return os.WriteFile(s.configPath(), text.Bytes(), 0o644)
}

// run starts the process and waits until it serves.
func (s *Server) run(ctx context.Context) error {
	cmd := exec.Command(s.program, "-C", s.configPath(), "-bdf", "-q1s")
	cmd.Dir = s.config.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner.credential}
	p, err := daemontest.Start(cmd, s.config.Dir, filepath.Join(s.config.Dir, "stderr"))
	if err != nil {
		return err
	}
	if err := p.WaitUntilReady(ctx, fmt.Sprintf("%s:%d", host, s.config.Port), "220 "); err != nil {
		p.Stop()
		return err
	}
	s.process = p
	return nil
}

// Stop ends the server: all its connections break and new ones are refused. It keeps
// its queue and its ports for Restart.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if s.process != nil {
		s.process.Stop()
		s.process = nil
	}
}

// Restart ends the server, if it runs, and starts it on the same ports, with the
// same queue.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop(tb)
	ctx, cancel := context.WithTimeout(context.Background(), daemontest.StartTimeout)
	defer cancel()
	if err := s.run(ctx); err != nil {
		tb.Fatalf("restart Exim: %v\n%s", err, s.log())
	}
}

// Host is the address that the server listens on; its certificate names it.
func (s *Server) Host() string { return host }

// Port is the port that speaks SMTP in clear, with STARTTLS; nobody logs in before.
func (s *Server) Port() int { return s.config.Port }

// TLSPort is the port that speaks TLS from the start.
func (s *Server) TLSPort() int { return s.config.TLSPort }

// Certificate is the server's certificate, its own authority, in DER.
func (s *Server) Certificate() []byte { return s.certificate }

// Roots trust the server's certificate.
func (s *Server) Roots() *x509.CertPool { return s.roots }

func (s *Server) logPath(kind string) string { return filepath.Join(s.config.Dir, "log", kind+"log") }

// log is what Exim has said so far; nothing yet is an empty log.
func (s *Server) log() []byte {
	var all []byte
	for _, path := range []string{filepath.Join(s.config.Dir, "stderr"), s.logPath("main"), s.logPath("panic")} {
		if text, err := os.ReadFile(path); err == nil {
			all = append(all, text...)
		}
	}
	return all
}

// Wait waits until n messages were delivered into files, and returns all there are,
// in no order. Return-path and Envelope-to are put before what was sent.
func (s *Server) Wait(tb testing.TB, n int) [][]byte {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		mail, err := s.delivered()
		if err != nil {
			tb.Fatal(err)
		}
		if len(mail) >= n {
			return mail
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("Exim has delivered %d messages, want %d:\n%s", len(mail), n, bytes.Join(mail, []byte("\n\n")))
		}
	}
}

// delivered reads the files; one of a message that Exim is still at work on is not
// whole yet.
func (s *Server) delivered() (mail [][]byte, err error) {
	files, err := filepath.Glob(filepath.Join(s.config.Dir, "mail", "*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		_, err := os.Stat(filepath.Join(s.config.Dir, "spool", "input", filepath.Base(file)+"-H"))
		if err == nil {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		mail = append(mail, text)
	}
	return mail, nil
}
