package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/idle"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/acme"
	"github.com/postern-mail/postern/internal/audit"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/lease"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/template"
	"github.com/postern-mail/postern/internal/token"
	"github.com/postern-mail/postern/internal/webhook"
)

const (
	// dialTimeout bounds one connection attempt to a mail server or a token
	// endpoint, tokenTimeout one request to the latter.
	dialTimeout  = 15 * time.Second
	tokenTimeout = 30 * time.Second
	// natsShutdown bounds the end of the embedded NATS server, which writes
	// what is buffered.
	natsShutdown = 10 * time.Second
)

// node is one Postern: everything that serve and demo run in a process. It is
// opened in order, run, and closed in reverse.
type node struct {
	log *slog.Logger
	// http and grpc are the API's listeners, natsAddr is where NATS clients
	// connect to.
	http, grpc net.Listener
	natsAddr   string
	// token is the admin token, tokenSource says where people find it.
	token       secret.String
	tokenSource string

	gateway    *gateway.Gateway
	webhooks   *webhook.Webhooks
	supervisor *idle.Supervisor
	outbox     *submit.Outbox
	keys       *keyring.Ring
	// watching is the lease that the supervisor and the outbox need, nil where no
	// other node can be.
	watching *lease.Config
	// certificates are those that an authority issues, nil where they are files.
	certificates *acme.Certificates
	// following keeps what was read from files and other servers in step with
	// them, while the node runs.
	following []func(ctx context.Context) error
	undo      []func()
}

// openNode prepares everything that can fail at the start, cheap things first:
// the listeners, so that a port in use is told at once, then the event log's
// server, which locks the data directory, then what stands on it.
func openNode(ctx context.Context, cfg *config, log *slog.Logger) (_ *node, err error) {
	n := &node{log: log}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.http, err = n.listen(ctx, cfg, "http", cfg.HTTP); err != nil {
		return nil, err
	}
	if n.grpc, err = n.listen(ctx, cfg, "grpc", cfg.GRPC); err != nil {
		return nil, err
	}
	apiTLS, err := n.openTransport(&cfg.transport)
	if err != nil {
		return nil, err
	}
	conn, check, err := n.openNATS(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if n.token, n.tokenSource, err = adminToken(cfg.AdminToken, cfg.DataDir); err != nil {
		return nil, err
	}
	if cfg.AdminTokenFile != "" {
		n.tokenSource = cfg.AdminTokenFile
	}
	if len(n.token.Reveal()) < safeToken {
		log.Warn("the admin token is short and may be guessed", "token_in", n.tokenSource, "better", fmt.Sprintf("%d random characters or more", safeToken))
	}
	admin, err := gateway.NewAdminToken(n.token)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.tokenSource, err)
	}
	auth, err := n.openCallers(&cfg.callers, admin)
	if err != nil {
		return nil, err
	}
	gatewayConfig := gateway.Config{HTTP: n.http, GRPC: n.grpc, TLS: apiTLS, Auth: auth, Limits: &cfg.Limits, SpoolDir: cfg.DataDir, Log: log}
	if err := n.openStores(ctx, cfg, conn, check, gatewayConfig); err != nil {
		return nil, err
	}
	return n, nil
}

// listen opens one of the API's listeners.
func (n *node) listen(ctx context.Context, cfg *config, flag, addr string) (net.Listener, error) {
	listener, err := n.open(ctx, flag, addr)
	if err != nil {
		return nil, err
	}
	// A name may stand for another address than it seems to.
	if err := cfg.checkListener(flag, listener.Addr().String()); err != nil {
		return nil, err
	}
	return listener, nil
}

// open opens a listener, which is closed with the node.
func (n *node) open(ctx context.Context, flag, addr string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another process already listens on %s: stop it, or choose another address with --%s", addr, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, addr, err)
	}
	// The gateway closes it too, once it runs.
	n.onClose(func() { _ = listener.Close() })
	return listener, nil
}

// openNATS starts the embedded server, or connects to the operator's own. The
// check tells whether the log can be written at present.
func (n *node) openNATS(ctx context.Context, cfg *config) (conn *nats.Conn, check func() error, err error) {
	if !cfg.NATSURL.IsZero() {
		conn, err := connectNATS(ctx, cfg.NATSURL, n.log)
		if err != nil {
			return nil, nil, err
		}
		n.onClose(conn.Close)
		n.natsAddr = conn.ConnectedAddr()
		return conn, func() error { return nil }, nil
	}
	server, err := natsd.Start(ctx, natsd.Config{
		DataDir: cfg.DataDir, Addr: cfg.NATS, Readable: eventlog.StreamName, Logger: n.log,
	})
	if err != nil {
		return nil, nil, err
	}
	n.onClose(func() {
		ctx, cancel := context.WithTimeout(context.Background(), natsShutdown)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			n.log.Error("the embedded NATS server does not stop", "error", err)
		}
	})
	conn, err = server.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	n.onClose(conn.Close)
	n.natsAddr = server.Addr()
	return conn, server.Check, nil
}

// openStores opens what is kept in NATS, and makes of it the gateway and the
// supervisor, which meet here and nowhere else.
func (n *node) openStores(ctx context.Context, cfg *config, conn *nats.Conn, check func() error, api gateway.Config) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("set up JetStream: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this machine: %w", err)
	}
	if err := n.openKeys(ctx, js, cfg, host, &api); err != nil {
		return err
	}
	if err := n.openMemories(ctx, js, cfg, &api); err != nil {
		return err
	}
	accounts := api.Accounts
	bucket, err := folder.OpenBucket(ctx, js, cfg.EventsReplicas)
	if err != nil {
		return err
	}
	folders := folder.NewRegistry(bucket)
	events, err := eventlog.Open(ctx, js, eventlog.Config{MaxAge: cfg.EventsMaxAge, Replicas: cfg.EventsReplicas, Logger: n.log})
	if err != nil {
		return err
	}
	n.onClose(events.Close)
	guard := &netguard.Guard{Allow: cfg.allowed}
	connector := n.connector(cfg, accounts, guard)

	submissions, err := submit.OpenStore(ctx, js, cfg.EventsReplicas, cfg.Limits.Outbox)
	if err != nil {
		return err
	}
	senders := submit.NewSenders(connector, imapconn.NewHostLimits(cfg.HostConnections, cfg.HostLogins))
	n.onClose(senders.Close)
	n.outbox = submit.NewOutbox(submit.Config{
		Store: submissions, Accounts: accounts, Sender: senders, Logger: n.log,
		Mailbox: &submit.IMAPMailbox{Connections: connector, Folders: folders},
	})

	if n.webhooks, err = webhook.Open(ctx, js, webhook.Config{
		Box: api.Box, Requests: api.Requests, Log: events, Accounts: accounts, Guard: guard, UserAgent: "Postern/" + version(),
		Schedule: webhook.Schedule{Parked: cfg.webhookSchedule}, DisableAfter: cfg.WebhookDisableAfter,
		Replicas: cfg.EventsReplicas, Most: cfg.Limits.Webhooks, Logger: n.log,
	}); err != nil {
		return err
	}
	api.Webhooks = n.webhooks
	api.Connector, api.Folders, api.Events = connector, folders, events
	api.Submissions, api.GiveUpSending, api.PublicURL = submissions, cfg.GiveUpSending, cfg.PublicURL
	api.Storage = check
	api.Ready = func(ctx context.Context) error {
		if err := errors.Join(check(), n.keys.Ready()); err != nil {
			return err
		}
		_, err := events.Head(ctx)
		return err
	}
	// Nobody else can use the embedded server's data, so there a lease would
	// only delay the restart after a crash.
	if !cfg.NATSURL.IsZero() {
		leases, err := lease.OpenBucket(ctx, js, 0, cfg.EventsReplicas)
		if err != nil {
			return err
		}
		n.watching = &lease.Config{KV: leases, Name: "watching", Node: host, Logger: n.log}
	}
	if err := n.openCertificates(ctx, js, cfg, api.Box); err != nil {
		return err
	}
	n.supervisor = idle.New(idle.Config{
		Accounts: accounts, Connector: connector, Log: events, Folders: folders,
		Checkpoints: folder.NewCheckpoints(bucket), Moves: api.Moves, Successors: api.Successors, Node: host,
		Submissions:  submissions,
		PollInterval: cfg.PollInterval, LinkTimeout: cfg.LinkTimeout, OverflowAfter: cfg.OverflowAfter, Logger: n.log,
	})
	api.Watch, api.Finder = n.supervisor, discover.New(discover.Config{Guard: guard, TLS: cfg.mailTLS, UserAgent: "Postern/" + version()})
	n.gateway, err = gateway.New(api)
	return err
}

// connector connects to the servers of accounts.
func (n *node) connector(cfg *config, accounts *account.Registry, guard *netguard.Guard) *account.Connector {
	// Both the hosts of mail servers and the URLs of token endpoints come from
	// whoever may register an account.
	cfg.warnOfAllowances(n.log)
	connector := account.NewConnector(account.ConnectorConfig{
		Registry:    accounts,
		Limits:      imapconn.NewHostLimits(cfg.HostConnections, cfg.HostLogins),
		Dial:        guard.Dialer(dialTimeout),
		HTTPClient:  &http.Client{Transport: guard.Transport(dialTimeout), Timeout: tokenTimeout},
		TLS:         cfg.mailTLS,
		Allow:       cfg.allowances,
		LinkTimeout: cfg.LinkTimeout,
	})
	n.onClose(connector.Close)
	return connector
}

// openMemories opens what requests remember of each other, the accounts, the templates
// and the API tokens.
func (n *node) openMemories(ctx context.Context, js jetstream.JetStream, cfg *config, api *gateway.Config) (err error) {
	if api.Requests, err = requestid.Open(ctx, js, cfg.EventsReplicas, api.Box); err != nil {
		return err
	}
	api.Accounts, err = account.Open(ctx, js, account.Config{
		Box: api.Box, Requests: api.Requests, Replicas: cfg.EventsReplicas, Most: cfg.Limits.Accounts, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.onClose(api.Accounts.Close)
	if api.Successors, err = moves.OpenSuccessors(ctx, js, cfg.EventsReplicas); err != nil {
		return err
	}
	if api.Templates, err = template.Open(ctx, js, cfg.EventsReplicas, cfg.Limits.Templates); err != nil {
		return err
	}
	api.Tokens, err = token.Open(ctx, js, token.Config{Box: api.Box, Replicas: cfg.EventsReplicas, Limit: cfg.MaxTokens, Logger: n.log})
	if err != nil {
		return err
	}
	n.onClose(api.Tokens.Close)
	api.Auth = access.AnyOf(api.Auth, api.Tokens)
	if err := n.openAudit(ctx, js, cfg, api); err != nil {
		return err
	}
	if api.Moves, err = moves.Open(ctx, js, cfg.EventsReplicas, n.log); err != nil {
		return err
	}
	n.onClose(api.Moves.Close)
	return nil
}

// openAudit opens the audit log, where one is kept.
func (n *node) openAudit(ctx context.Context, js jetstream.JetStream, cfg *config, api *gateway.Config) error {
	if cfg.Audit == auditOff {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this machine: %w", err)
	}
	api.AuditWrites = cfg.Audit == auditWrites
	api.Audit, err = audit.Open(ctx, js, audit.Config{
		Node: host, MaxAge: cfg.AuditMaxAge, MaxEntries: cfg.AuditMaxEntries, Replicas: cfg.EventsReplicas, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.onClose(api.Audit.Close)
	return nil
}

// run serves the API and watches the mailboxes until ctx ends or one of the two
// fails. All that it started has ended when it returns.
func (n *node) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.gateway.Run(ctx) })
	group.Go(func() error { return n.watch(ctx) })
	group.Go(func() error { return n.keys.Run(ctx) })
	group.Go(func() error { return n.webhooks.Run(ctx, n.gateway.MessageBody) })
	for _, follow := range n.following {
		group.Go(func() error { return follow(ctx) })
	}
	return group.Wait()
}

// watch watches the mailboxes and sends mail, where several nodes share a NATS when
// it is this one's turn.
func (n *node) watch(ctx context.Context) error {
	if n.watching == nil {
		return n.own(ctx)
	}
	return lease.Hold(ctx, *n.watching, n.own)
}

// own does what one node does for all.
func (n *node) own(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.supervisor.Run(ctx) })
	group.Go(func() error { return n.outbox.Run(ctx) })
	group.Go(func() error { return n.keys.Own(ctx) })
	return group.Wait()
}

func (n *node) onClose(f func()) { n.undo = append(n.undo, f) }

// close closes what was opened, the last first.
func (n *node) close() {
	for len(n.undo) > 0 {
		last := len(n.undo) - 1
		n.undo[last]()
		n.undo = n.undo[:last]
	}
}

// openKeys opens the key set that seals what is stored, and joins the agreement of
// all nodes on which of its keys does.
func (n *node) openKeys(ctx context.Context, js jetstream.JetStream, cfg *config, host string, api *gateway.Config) error {
	source, err := cfg.keySource()
	if err != nil {
		return err
	}
	if api.Box, err = source.Open(ctx); err != nil {
		return err
	}
	n.keys, err = keyring.Open(ctx, js, keyring.Config{
		Box: api.Box, Kinds: sealedKinds(), Shared: !cfg.NATSURL.IsZero(), Node: host,
		Replicas: cfg.EventsReplicas, Logger: n.log,
	})
	if err != nil {
		return err
	}
	api.Links, err = n.keys.Derived(ctx, "unsubscribe")
	return err
}
