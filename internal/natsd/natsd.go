// Package natsd embeds a NATS server with JetStream, the one service that
// Postern stands on, so that a single process needs nothing else.
//
// The server keeps its streams under a data directory that one process at a
// time may use, listens on loopback only, asks every client for credentials,
// has no monitoring port, and syncs each write before it is acknowledged.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/postern-mail/postern/internal/secret"
)

const (
	// maxPayload bounds one message. An event with its envelope takes tens of
	// kilobytes; the largest record is a folder's set of known UIDs, which
	// stays ranges and reaches megabytes only in a badly fragmented mailbox.
	// Above 8 MiB nats-server itself advises against it.
	maxPayload = 8 << 20
	// maxConnections is far more than the gateway's own connections and the
	// consumers of a single host, and below the usual 1,024 open files.
	maxConnections = 512
	// maxMemoryStore bounds what may be kept in memory instead of on disk. All
	// of Postern's streams are on disk; only short-lived consumers keep their
	// little state here. The server's own default is 75% of the machine.
	maxMemoryStore = 64 << 20
	// writeDeadline is how long a client may leave its socket full before the
	// server drops it, so that a stuck consumer holds at most maxPending.
	writeDeadline = 10 * time.Second
	// noMaxStore is more than any disk has. The server's own default is three
	// quarters of what is free when it starts, what it has stored before not
	// counted: after a start on a disk that is nearly full it would store nothing.
	noMaxStore = 1 << 50
	maxPending = 4 * maxPayload
	// connectTimeout bounds a connection from within the process. The server is
	// there; a machine that is busy starting it may make it wait.
	connectTimeout = 30 * time.Second
)

// Config says where the server keeps its data and where it listens.
type Config struct {
	// DataDir is made with mode 0700 when it is not there.
	DataDir string
	// Addr is HOST:PORT for NATS clients; port 0 takes a free one. HOST must be
	// a loopback address or "localhost" unless AllowRemote is set.
	Addr string
	// AllowRemote permits an Addr that other machines can reach. Credentials
	// and events then cross the network in clear, so something around the
	// server, such as a private network, must protect them.
	AllowRemote bool
	// Private opens no listener, whatever Addr is: only [Server.Connect] reaches the
	// server, and the file nats-url stays what it is.
	Private bool
	// MaxStore bounds the bytes that all streams together take on disk; 0 means
	// that the disk does.
	MaxStore int64
	// Readable is the stream that readers may read a copy of, once there are
	// credentials for them (see [Credentials]); empty means none.
	Readable string
	// Logger gets the server's messages; nil means none.
	Logger *slog.Logger
}

// Server is a running embedded server.
type Server struct {
	options  func() *server.Options // of this server, at its address
	readable string
	private  bool
	keys     *keys

	mu   sync.Mutex
	nats *server.Server // replaced when it cannot store any more

	healing context.CancelFunc
	healed  chan struct{} // closed when nothing replaces nats any more
	dir     *dataDir
	login   credentials
	addr    string
	logger  *slog.Logger
	log     *serverLog
	stopped chan struct{} // closed when Shutdown has finished
	stop    func()        // begins the shutdown; further calls do nothing
}

// Start starts the server and returns once it serves with all its streams
// recovered. It fails with [*InUseError] when another process uses the data
// directory, and with [*ListenError] when the address cannot be listened on.
func Start(ctx context.Context, config Config) (*Server, error) {
	var host string
	var port int
	if !config.Private {
		var err error
		if host, port, err = parseAddr(config.Addr, config.AllowRemote); err != nil {
			return nil, err
		}
	}
	logger := config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	dir, err := openDataDir(config.DataDir)
	if err != nil {
		return nil, err
	}
	dir.warn(logger)
	s := &Server{
		readable: config.Readable, private: config.Private, dir: dir, logger: logger, log: &serverLog{logger: logger},
		stopped: make(chan struct{}), healed: make(chan struct{}),
	}
	if err := s.start(ctx, host, port, config.MaxStore); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, host string, port int, maxStore int64) error {
	// Looked at first because recovering large streams takes a while, and the
	// server itself reports the clash only after that.
	if !s.private {
		if err := probeListen(ctx, host, port); err != nil {
			return err
		}
	}
	login, err := s.dir.credentials()
	if err != nil {
		return err
	}
	s.login = login
	if s.keys, err = openKeys(s.dir.path, login); err != nil {
		return err
	}
	if maxStore == 0 {
		maxStore = noMaxStore
	}
	s.options = func() *server.Options { return options(s.dir.path, host, port, maxStore) }
	s.stop = sync.OnceFunc(func() { go s.shutdown() })
	nats, err := s.run(ctx)
	if err != nil {
		return err
	}
	if !s.private {
		s.addr = clientAddr(nats.Addr())
		port = nats.Addr().(*net.TCPAddr).Port // for the next one
		if err := s.dir.writeURL(login.url(s.addr)); err != nil {
			nats.Shutdown()
			nats.WaitForShutdown()
			return err
		}
	}
	var healing context.Context
	healing, s.healing = context.WithCancel(context.Background())
	go s.keep(healing)
	return nil
}

// run starts a NATS server, which is the current one once it serves. On an error
// nothing of it is left.
func (s *Server) run(ctx context.Context) (*server.Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	gate, options := &gate{keys: s.keys}, s.options()
	options.CustomClientAuthentication = gate
	// Nobody is let in before the accounts are there: clients take a refusal of
	// their credentials for final.
	options.DontListen = true
	nats, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	nats.SetLoggerV2(s.log, false, false, false)
	started := make(chan error, 1)
	go func() {
		// Start returns once the streams are recovered, or after it has told
		// the logger why it gave up.
		nats.Start()
		started <- s.open(nats, gate)
	}()
	select {
	case err = <-started:
	case <-ctx.Done():
		nats.Shutdown()
		err = errors.Join(ctx.Err(), <-started)
	}
	if err != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
		return nil, fmt.Errorf("start the embedded NATS server in %s: %w", s.dir.path, err)
	}
	s.mu.Lock()
	s.nats = nats
	s.mu.Unlock()
	return nats, nil
}

// open lets clients into a server that has started.
func (s *Server) open(nats *server.Server, gate *gate) error {
	if reason := s.log.fatal(); reason != "" {
		return errors.New(reason)
	}
	if !nats.JetStreamEnabled() {
		return errors.New("it does not store")
	}
	if err := gate.open(nats, s.readable); err != nil {
		return err
	}
	if s.readable != "" {
		if err := answerReaders(nats, s.keys.copier, s.readable); err != nil {
			return err
		}
	}
	if s.private {
		return nil
	}
	nats.AcceptLoop(make(chan struct{}))
	if reason := s.log.fatal(); reason != "" {
		return errors.New(reason)
	}
	if nats.Addr() == nil {
		return errors.New("it does not serve")
	}
	return nil
}

// options is all that the embedded server is configured with; what is not
// named, such as monitoring, clustering, profiling and WebSocket, stays off.
func options(dir, host string, port int, maxStore int64) *server.Options {
	return &server.Options{
		ServerName: "postern",
		Host:       host,
		Port:       port,
		// The process handles signals; the server must not exit by itself.
		NoSigs: true,

		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      maxStore,
		JetStreamMaxMemory:     maxMemoryStore,
		DisableJetStreamBanner: true,
		// What the API has acknowledged survives a power cut.
		SyncAlways: true,

		MaxPayload:    maxPayload,
		MaxPending:    maxPending,
		MaxConn:       maxConnections,
		WriteDeadline: writeDeadline,
	}
}

// URL is how NATS clients reach the server, with its credentials:
// nats://user:password@host:port. The file nats-url in the data directory
// holds the same.
func (s *Server) URL() secret.String { return secret.New(s.login.url(s.addr)) }

// Addr is the HOST:PORT that clients connect to.
func (s *Server) Addr() string { return s.addr }

// Check reports whether the server stores messages. After a write that failed,
// for example because the disk was full, a stream takes no more, and publishers
// only see time-outs; the error is a [*StorageError] until the disk takes writes
// again and the server has been started anew.
func (s *Server) Check() error {
	if failure := s.storage(); failure != nil {
		return failure
	}
	if !s.current().Running() {
		return errors.New("the embedded NATS server has stopped")
	}
	return nil
}

// Connect opens a connection to the server from within the process. It
// reconnects for as long as the server runs; the caller closes it.
func (s *Server) Connect(ctx context.Context) (*nats.Conn, error) { return s.connect(ctx, s.login) }

func (s *Server) connect(ctx context.Context, login credentials) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	conn, err := nats.Connect("",
		nats.InProcessServer(s),
		nats.UserInfo(login.user, login.password.Reveal()),
		nats.Name("postern"),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			s.logger.Warn("NATS connection", "subject", subject, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return conn, nil
}

// Shutdown closes all client connections, writes what is buffered, and gives
// the data directory free. When ctx ends first, Shutdown returns its error and
// the shutdown goes on; it may be called again to wait further.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down the embedded NATS server: %w", ctx.Err())
	}
}

// shutdown runs in a goroutine of its own and ends when all is closed.
func (s *Server) shutdown() {
	defer close(s.stopped)
	s.healing()
	<-s.healed
	s.current().Shutdown()
	s.current().WaitForShutdown()
	if err := s.dir.close(); err != nil {
		s.logger.Warn("release the data directory", "error", err)
	}
}
