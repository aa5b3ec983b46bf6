package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/urfave/cli/v3"
)

// stopLimit bounds the time from a signal to the end of the process, within the
// 30 s that most supervisors of processes give.
const stopLimit = 25 * time.Second

func serveCommand(stderr io.Writer) *cli.Command {
	cfg := &config{}
	return &cli.Command{
		Name:  "serve",
		Usage: "watch mailboxes and serve the API",
		Description: "Each setting is a flag, an environment variable (POSTERN_ and the flag's name: POSTERN_DATA_DIR)\n" +
			"and a key of the YAML file. A flag wins over the environment, the environment over the file.\n" +
			"Secrets are taken from the environment, POSTERN_ADMIN_TOKEN, the token of the API, and POSTERN_KEY,\n" +
			"or from the files that --admin-token-file, --nats-url-file and --key-file name.",
		Flags: cfg.flags(),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := cfg.readSecrets(); err != nil {
				return &usageError{err}
			}
			if err := cfg.validate(cmd.IsSet); err != nil {
				return &usageError{err}
			}
			log, err := newLogger(stderr, cfg.LogLevel, cfg.LogFormat)
			if err != nil {
				return &usageError{err}
			}
			return boundedStop(ctx, stopLimit, func(ctx context.Context) error { return serve(ctx, cfg, log) })
		},
	}
}

// serve runs a node until ctx ends, which is no error.
func serve(ctx context.Context, cfg *config, log *slog.Logger) error {
	log.Info("starting", "version", version())
	n, err := openNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer n.close()
	stopping := context.AfterFunc(ctx, func() {
		log.Info("stopping; a second signal ends the process at once")
		notifySystemd(log, "STOPPING=1")
	})
	defer stopping()
	scheme := "http"
	if cfg.transport.encrypts() {
		scheme = "https"
	}
	log.Info("ready",
		"rest", scheme+"://"+n.http.Addr().String(),
		"docs", scheme+"://"+n.http.Addr().String()+"/docs",
		"grpc", n.grpc.Addr().String(),
		"nats", n.natsAddr,
		"token_in", n.tokenSource,
	)
	notifySystemd(log, "READY=1")
	if err := n.run(ctx); err != nil {
		return err
	}
	n.close()
	log.Info("stopped")
	return nil
}

// boundedStop runs f, and once ctx has ended waits for its return no longer
// than limit.
func boundedStop(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("did not stop within %s and is cut off; nothing that was acknowledged is lost", limit)
	}
}
