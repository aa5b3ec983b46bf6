package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/audit"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/template"
	"github.com/postern-mail/postern/internal/token"
	"github.com/postern-mail/postern/internal/webhook"
)

// DefaultGrace is how long Run lets calls finish that are under way when it is
// told to stop.
const DefaultGrace = 10 * time.Second

// DefaultGiveUpSending is for how long mail is tried. RFC 5321 section 4.5.4.1 has
// four or five days for servers; who sends by an API wants to know sooner.
const DefaultGiveUpSending = 48 * time.Hour

// DefaultConnectionWait is how long a request waits for one of its account's
// connections to be free before it is told that there are too many.
const DefaultConnectionWait = 30 * time.Second

// Config is what a gateway is made of.
type Config struct {
	// HTTP and GRPC are the listeners; Run closes them.
	HTTP, GRPC net.Listener
	// TLS, where it is given, is spoken on both listeners.
	TLS *tls.Config
	// Auth tells who may call; see [NewAdminToken].
	Auth access.Authenticator
	// Accounts, Connector, Folders and Events are what the services stand on.
	Accounts  *account.Registry
	Connector Connector
	Folders   *folder.Registry
	Events    *eventlog.Log
	// Finder finds the servers of email addresses.
	Finder *discover.Finder
	// Requests remembers request ids.
	Requests *requestid.Store
	// Moves tells the account's owner which message became which when it is
	// moved, and Successors those who have an old name.
	Moves      *moves.Ledger
	Successors *moves.Successors
	// Watch, where it is given, is who watches the mailboxes on this node.
	Watch Watch
	// Submissions keeps the mail that is to be sent. GiveUpSending is for how long it
	// is tried; 0 means [DefaultGiveUpSending].
	Submissions   *submit.Store
	GiveUpSending time.Duration
	// PublicURL is where the world reaches the HTTP listener, such as
	// https://postern.example.com; empty for nowhere. Those who get mail unsubscribe
	// there.
	PublicURL string
	// Templates keeps templates of mail.
	Templates *template.Store
	// Tokens are the API tokens that TokenService manages.
	Tokens *token.Store
	// Webhooks are what WebhookService manages; their owner runs them.
	Webhooks *webhook.Webhooks
	// Audit, where it is given, takes every call; with AuditWrites those that change
	// something, and those that are refused for who calls.
	Audit       *audit.Log
	AuditWrites bool
	// Box seals page tokens. Nodes that share it take each other's tokens.
	Box *secret.Box
	// Links seals what stands in mail for years, such as links to unsubscribe; nil
	// means that Box does.
	Links *secret.Box
	// SpoolDir is where messages that are imported lie until the mail server
	// has them; empty means the system's directory for temporary files.
	SpoolDir string
	// ConnectionWait bounds how long a request waits for a connection to a mail
	// server to be free; 0 means [DefaultConnectionWait].
	ConnectionWait time.Duration
	// Ready, where it is given, is asked by GET /readyz whether what the
	// gateway stands on is there.
	Ready func(ctx context.Context) error
	// Storage, where it is given, says why nothing can be stored at present. A
	// [*natsd.StorageError] tells a full disk.
	Storage func() error
	// Limits bound what clients may ask for; nil means [DefaultLimits].
	Limits *Limits
	// Grace bounds the shutdown; 0 means [DefaultGrace].
	Grace time.Duration
	// Log takes the access log and the errors; nil means [slog.Default].
	Log *slog.Logger
}

// Gateway is the front door: gRPC on one listener, REST, server-sent events,
// downloads and the reference on the other.
type Gateway struct {
	cfg      Config
	calls    calls
	entrance *entrance
	links    *links

	accounts    *accountService
	folders     *folderService
	messages    *messageService
	drafts      *draftService
	threads     *threadService
	submissions *submissionService
	uploads     *uploadService
	events      *eventService
	webhooks    *webhookService
	templates   *templateService
	blocks      *blockService
	tokens      *tokenService
	audit       *auditService

	health *health.Server
	// outer serves the network. inner serves the REST mux: streams over a
	// listener in memory, see [inProcess] for the rest. It has neither the limits
	// nor the access log of the outer one, because the HTTP server in front of it
	// has its own.
	outer, inner *grpc.Server
	memory       *bufconn.Listener
	serving      atomic.Bool
	// draining is closed when Run begins to stop: watches end then.
	draining chan struct{}
}

const memoryBuffer = 1 << 20

// New makes a gateway; Run serves it.
func New(cfg Config) (*Gateway, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.GiveUpSending == 0 {
		cfg.GiveUpSending = DefaultGiveUpSending
	}
	if cfg.HTTP == nil || cfg.GRPC == nil || cfg.Auth == nil {
		return nil, errors.New("gateway needs two listeners and an authenticator")
	}
	if cfg.ConnectionWait == 0 {
		cfg.ConnectionWait = DefaultConnectionWait
	}
	if cfg.Limits == nil {
		limits := DefaultLimits()
		cfg.Limits = &limits
	}
	if cfg.Accounts == nil || cfg.Connector == nil || cfg.Folders == nil || cfg.Events == nil || cfg.Webhooks == nil ||
		cfg.Requests == nil || cfg.Submissions == nil || cfg.Templates == nil || cfg.Tokens == nil || cfg.Box == nil {
		return nil, errors.New("gateway needs accounts, their connections and folders, the event log, webhooks, request ids, submissions, templates, tokens and a box")
	}
	if cfg.Moves == nil || cfg.Successors == nil || cfg.Finder == nil {
		return nil, errors.New("gateway needs the ledger of moves, the successors and a finder of servers")
	}
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("set up request validation: %w", err)
	}
	limiter := newLimiter(*cfg.Limits, runtime.GOMAXPROCS(0), cfg.Accounts.Labels, cfg.Log)
	g := &Gateway{
		cfg:      cfg,
		calls:    calls{auth: cfg.Auth, validator: validator, log: cfg.Log, storage: cfg.Storage, limiter: limiter},
		links:    newLinks(*cfg.Limits),
		health:   health.NewServer(),
		memory:   bufconn.Listen(memoryBuffer),
		draining: make(chan struct{}),
	}
	if cfg.Audit != nil {
		g.calls.audit = &auditor{log: cfg.Audit, limits: cfg.Limits, writes: cfg.AuditWrites}
	}
	g.build()
	inner, outer := g.calls, g.calls
	outer.access, outer.turns = true, true
	g.entrance = &entrance{calls: outer, limiter: limiter, links: g.links, streaming: make(map[string]bool)}
	g.inner = grpc.NewServer(
		grpc.ChainUnaryInterceptor(inner.unary), grpc.ChainStreamInterceptor(inner.stream),
		grpc.MaxRecvMsgSize(cfg.Limits.RequestBytes),
	)
	g.outer = grpc.NewServer(append(cfg.Limits.grpcOptions(),
		grpc.Creds(transportOf(cfg.TLS)),
		grpc.ChainUnaryInterceptor(outer.unary), grpc.ChainStreamInterceptor(outer.stream),
		grpc.ForceServerCodecV2(newBoundedCodec()),
		grpc.InTapHandle(g.entrance.tap), // which refuses methods that there are not, too
	)...)
	for _, server := range []*grpc.Server{g.inner, g.outer} {
		g.register(server)
		healthpb.RegisterHealthServer(server, g.health)
	}
	reflection.Register(g.outer)
	g.entrance.learn(g.outer.GetServiceInfo())
	g.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	return g, nil
}

// Run serves until ctx ends, then lets what is under way finish within the
// grace period, and cuts off the rest. It returns nil after an orderly stop.
func (g *Gateway) Run(ctx context.Context) error {
	conn, err := g.dialMemory()
	if err != nil {
		return err
	}
	defer conn.Close()
	// Calls under way outlive ctx, so that they can finish.
	callsCtx, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	direct := &inProcess{ClientConnInterface: conn, interceptor: g.calls.unary}
	g.register(direct)
	handler, err := g.handler(callsCtx, direct)
	if err != nil {
		return err
	}
	web := g.cfg.Limits.httpServer(handler)
	web.BaseContext = func(net.Listener) context.Context { return callsCtx }
	web.ErrorLog = slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug)
	// Before the first connection is taken: the listeners are open already, so
	// whoever has connected is answered that it is ready.
	g.setServing(true)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ignoreStopped(g.inner.Serve(g.memory)) })
	group.Go(func() error { return ignoreStopped(g.outer.Serve(g.links.listen(listenerGRPC, g.cfg.GRPC))) })
	group.Go(func() error {
		return ignoreStopped(web.Serve(webListener(g.links.listen(listenerHTTP, g.cfg.HTTP), g.cfg.TLS)))
	})
	group.Go(func() error {
		g.watchHealth(ctx)
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		g.stop(web, cutOff)
		return nil
	})
	return group.Wait()
}

func (g *Gateway) dialMemory() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.memory.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the services in memory: %w", err)
	}
	return conn, nil
}

// stop ends the servers: first it says so, then it waits, then it cuts off.
func (g *Gateway) stop(web *http.Server, cutOff context.CancelFunc) {
	g.setServing(false)
	close(g.draining)
	grace, done := context.WithTimeout(context.Background(), g.cfg.Grace)
	defer done()
	var group errgroup.Group
	group.Go(func() error {
		if err := web.Shutdown(grace); err != nil {
			cutOff()
			return web.Close()
		}
		return nil
	})
	group.Go(func() error {
		stopped := make(chan struct{})
		forced := context.AfterFunc(grace, g.outer.Stop)
		defer forced()
		go func() { defer close(stopped); g.outer.GracefulStop() }()
		<-stopped
		return nil
	})
	if err := group.Wait(); err != nil {
		g.cfg.Log.Warn("calls were cut off at the end", "error", err)
	}
	// Nobody is left who could call in.
	g.inner.Stop()
}

func (g *Gateway) setServing(on bool) {
	g.serving.Store(on)
	if on {
		g.setHealth(healthpb.HealthCheckResponse_SERVING)
	} else {
		g.setHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	}
}

// setHealth is what the health service says of all services.
func (g *Gateway) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	services := []string{""}
	for name := range g.outer.GetServiceInfo() {
		services = append(services, name)
	}
	slices.Sort(services)
	for _, name := range services {
		g.health.SetServingStatus(name, status)
	}
}

// ignoreStopped: a server that was told to stop has not failed.
func ignoreStopped(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}
