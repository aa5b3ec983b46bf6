package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/secret"
)

// natsTimeout bounds the first connection to each NATS server, and the
// question whether it has JetStream.
const natsTimeout = 5 * time.Second

// natsHosts gives the hosts of a list of NATS URLs, which can be shown: the
// rest of a URL may be a password or a token.
func natsHosts(urls secret.String) (string, error) {
	var hosts []string
	for part := range strings.SplitSeq(urls.Reveal(), ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		parsed, err := url.Parse(part)
		// The parser's error quotes the URL.
		if err != nil || parsed.Host == "" {
			return "", errors.New("--nats-url: give URLs such as nats://user:password@nats.example.com:4222, separated by commas")
		}
		switch parsed.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return "", fmt.Errorf("--nats-url: the scheme is %q: give nats, tls, ws or wss", parsed.Scheme)
		}
		hosts = append(hosts, parsed.Host)
	}
	return strings.Join(hosts, ","), nil
}

// connectNATS connects to NATS servers of the operator's own. The servers must
// be there at the start; after that the connection comes back for as long as
// the process runs.
func connectNATS(ctx context.Context, urls secret.String, log *slog.Logger) (*nats.Conn, error) {
	hosts, err := natsHosts(urls)
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(urls.Reveal(),
		nats.Name("postern"),
		nats.Timeout(natsTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				log.Warn("the connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			log.Info("connected to NATS again", "server", conn.ConnectedAddr())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS connection", "subject", subject, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS at %s (--nats-url): %w", hosts, err)
	}
	if err := checkJetStream(ctx, conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("NATS at %s (--nats-url): %w", hosts, err)
	}
	return conn, nil
}

// checkJetStream finds out whether the server keeps streams at all, which
// everything else takes for granted.
func checkJetStream(ctx context.Context, conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	_, err = js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: start the server with JetStream (nats-server -js) and allow it to the account", err)
	case err != nil:
		return fmt.Errorf("ask about JetStream: %w", err)
	}
	return nil
}
