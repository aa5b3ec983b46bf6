package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/sandbox"
	"github.com/postern-mail/postern/internal/secret"
)

// tourLimit bounds what the demo shows by itself, which takes a second.
const tourLimit = 30 * time.Second

func demoCommand(stdout, stderr io.Writer) *cli.Command {
	once := false
	return &cli.Command{
		Name:  "demo",
		Usage: "show in one process, with a mailbox of its own, what Postern does",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Destination: &once, Usage: "end after the tour, with exit code 0 only if all of it happened"},
		},
		Action: func(ctx context.Context, _ *cli.Command) error {
			return runDemo(ctx, newScreen(stdout, os.Getenv), stderr, once)
		},
	}
}

// runDemo runs a sandbox mailbox and a node in this process, on free ports of
// the loopback interface and with its data in a temporary directory, and shows
// what a client of the API sees.
func runDemo(ctx context.Context, s *screen, stderr io.Writer, once bool) (err error) {
	log, err := newLogger(stderr, "warn", "text")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return fmt.Errorf("the demo's data directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// It outlives ctx: it ends after the node, which would find its mail
	// server gone.
	mailbox, err := sandbox.Start(context.WithoutCancel(ctx), sandbox.Config{})
	if err != nil {
		return fmt.Errorf("start the sandbox mailbox: %w", err)
	}
	defer mailbox.Close()
	n, err := openNode(ctx, demoConfig(dir, mailbox), log)
	if err != nil {
		return err
	}
	defer n.close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.run(ctx) })
	group.Go(func() error {
		defer stop()
		t := &tour{
			screen: s, mailbox: mailbox,
			api: &apiClient{base: "http://" + n.http.Addr().String(), token: n.token, http: http.DefaultClient},
		}
		return t.run(ctx, once)
	})
	return group.Wait()
}

// demoConfig is a node that disturbs nothing: it takes what ports are free, and
// may reach the sandbox and nobody else on this machine's networks.
func demoConfig(dir string, mailbox *sandbox.Server) *config {
	const free = "127.0.0.1:0"
	return &config{
		DataDir: dir, HTTP: free, GRPC: free, NATS: free,
		AdminToken:     secret.New(rand.Text()),
		EventsReplicas: 1,
		EventsMaxAge:   time.Hour,
		PollInterval:   time.Minute,
		Limits:         gateway.DefaultLimits(),
		allowed:        []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		mailTLS:        &tls.Config{RootCAs: mailbox.CAs(), MinVersion: tls.VersionTLS12},
	}
}
