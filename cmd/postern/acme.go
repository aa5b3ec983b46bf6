package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/acme"
	"github.com/postern-mail/postern/internal/lease"
	"github.com/postern-mail/postern/internal/secret"
)

// acmeSettings say which authority issues the API's certificate.
type acmeSettings struct {
	Domains     []string
	Email       string
	Directory   string
	AcceptTerms bool
	HTTP        string
}

func (s *acmeSettings) flags(sources func(string) cli.ValueSourceChain) []cli.Flag {
	text := func(name, value string, dest *string, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: sources(name)}
	}
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "acme-domains", Destination: &s.Domains, Sources: sources("acme-domains"),
			Usage: "get a certificate for these `DOMAINS` by ACME, comma-separated, in place of --tls-cert"},
		text("acme-email", "", &s.Email, "the `ADDRESS` at which the authority may write to you"),
		text("acme-directory", acme.LetsEncrypt, &s.Directory, "the authority's ACME directory, a `URL`"),
		&cli.BoolFlag{Name: "acme-accept-terms", Destination: &s.AcceptTerms, Sources: sources("acme-accept-terms"),
			Usage: "accept the authority's terms of service"},
		text("acme-http", "", &s.HTTP, "have the domains proved over HTTP on `ADDR`, which port 80 of the domains leads to, rather than by TLS on --http"),
	}
}

func (s *acmeSettings) used() bool { return len(s.Domains) > 0 }

// config gives the settings the form in which they are used.
func (s *acmeSettings) config(log *slog.Logger) acme.Config {
	return acme.Config{
		Domains: trimmed(s.Domains), Email: s.Email, Directory: s.Directory, AcceptTerms: s.AcceptTerms, HTTP: s.HTTP != "",
		UserAgent: "Postern/" + version(), Log: log,
	}
}

func (s *acmeSettings) validate() error {
	if !s.used() {
		if s.HTTP != "" || s.Email != "" || s.AcceptTerms {
			return errors.New("--acme-email, --acme-http and --acme-accept-terms go with --acme-domains")
		}
		return nil
	}
	cfg := s.config(nil)
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("--acme-domains and the settings beside it (--acme-directory, --acme-accept-terms): %w", err)
	}
	if s.HTTP != "" {
		if _, _, err := net.SplitHostPort(s.HTTP); err != nil {
			return fmt.Errorf("--acme-http is %q: give HOST:PORT such as :80", s.HTTP)
		}
	}
	return nil
}

// openCertificates prepares for certificates that an authority issues. They are
// got while the node runs: an authority that is away keeps nobody from starting.
func (n *node) openCertificates(ctx context.Context, js jetstream.JetStream, cfg *config, box *secret.Box) error {
	settings := &cfg.transport.acme
	if !settings.used() {
		return nil
	}
	config := settings.config(n.log)
	var err error
	if config.Store, err = acme.OpenStore(ctx, js, cfg.EventsReplicas, box); err != nil {
		return err
	}
	if n.watching != nil {
		alone := *n.watching
		alone.Name = "certificates"
		config.Alone = func(ctx context.Context, fn func(context.Context) error) error { return lease.Hold(ctx, alone, fn) }
	}
	n.certificates = acme.New(config)
	n.following = append(n.following, n.certificates.Run)
	if settings.HTTP == "" {
		return nil
	}
	listener, err := n.open(ctx, "acme-http", settings.HTTP)
	if err != nil {
		return err
	}
	n.following = append(n.following, func(ctx context.Context) error { return serveChallenges(ctx, listener, n.certificates) })
	return nil
}

// Bounds of requests on port 80, which are short and of few.
const (
	challengeTimeout = 10 * time.Second
	challengeHeader  = 8 << 10
)

// serveChallenges answers authorities over HTTP until ctx ends.
func serveChallenges(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadTimeout: challengeTimeout, WriteTimeout: challengeTimeout, IdleTimeout: challengeTimeout,
		MaxHeaderBytes: challengeHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("--acme-http: %w", err)
	}
	return nil
}
