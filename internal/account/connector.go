package account

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// errClosed is the error of a Connector after Close.
var errClosed = errors.New("the connector is closed")

// ConnectorConfig says how connections to mail servers are made.
type ConnectorConfig struct {
	Registry *Registry
	// Limits bounds connections and logins per host over all accounts; nil
	// means no bound.
	Limits *imapconn.HostLimits
	// Dial makes network connections. It is where users' servers are kept out
	// of networks that are none of their business; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// HTTPClient reaches the token endpoints, which users name as well; nil
	// means the default transport.
	HTTPClient *http.Client
	// TLS is the base of the TLS configuration; nil means the system's roots.
	TLS *tls.Config
	// Allow is what accounts may do beyond what is safe.
	Allow Allowances
	// PoolSize bounds the request connections of one account; 0 means
	// [imapconn.DefaultPoolSize]. Where the provider allows few connections, an
	// account has fewer.
	PoolSize int
	// LinkTimeout is how long a dead link may look alive; 0 means
	// [imapconn.DefaultLinkTimeout].
	LinkTimeout time.Duration
}

// Connector connects to the servers of accounts with their present settings: a
// pool of request connections for each account that is used, made when first
// needed and replaced when the settings change, and single connections for
// watching. It is safe for concurrent use.
type Connector struct {
	config ConnectorConfig
	tokens *tokens
	stop   context.CancelFunc
	tasks  sync.WaitGroup

	// suspects are the *imapconn.Suspects of accounts, by their ids.
	suspects sync.Map

	mu     sync.Mutex
	pools  map[string]*accountPool
	closed bool
}

// accountPool is a pool with what its connections were made for.
type accountPool struct {
	*imapconn.Pool
	revision string
}

// NewConnector starts a connector; Close ends it.
func NewConnector(config ConnectorConfig) *Connector {
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: imapconn.DefaultCommandTimeout}).DialContext
	}
	if config.PoolSize <= 0 {
		config.PoolSize = imapconn.DefaultPoolSize
	}
	if config.LinkTimeout <= 0 {
		config.LinkTimeout = imapconn.DefaultLinkTimeout
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Connector{
		config: config, tokens: newTokens(config.Registry, config.HTTPClient),
		stop: stop, pools: make(map[string]*accountPool),
	}
	c.tasks.Go(func() { c.follow(ctx) })
	return c
}

// Close closes all pools and waits for requests and refreshes under way, some
// seconds at most for requests. Connections that Dial gave out stay.
func (c *Connector) Close() {
	c.stop()
	c.mu.Lock()
	c.closed = true
	for id := range c.pools {
		c.retire(id)
	}
	c.mu.Unlock()
	c.tokens.close()
	c.tasks.Wait()
}

// follow closes the pools of accounts that were deleted or changed, so that a
// password that was replaced does not live on in open connections.
func (c *Connector) follow(ctx context.Context) {
	for change := range c.config.Registry.Watch(ctx) {
		c.mu.Lock()
		if pool := c.pools[change.ID]; pool != nil && (change.Account == nil || pool.revision != change.Account.ConnectionRevision) {
			c.retire(change.ID)
		}
		c.mu.Unlock()
		if change.Deleted {
			c.tokens.forget(change.ID)
			c.suspects.Delete(change.ID)
		}
	}
}

// retire takes a pool out of use and closes it once its requests are done. The
// caller holds the lock.
func (c *Connector) retire(id string) {
	pool := c.pools[id]
	delete(c.pools, id)
	c.tasks.Go(func() {
		// Its connections are closed in any case.
		_ = pool.Close()
	})
}

// Do calls fn with a request connection of the account that has the mailbox
// selected, or any if mailbox is empty, as [imapconn.Pool.Do] does. It fails
// with [ErrNotFound], with the errors of imapconn, and for OAuth 2.0 with
// [*TokenUnavailableError] and [*TokenRefusedError].
func (c *Connector) Do(ctx context.Context, id, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	return c.retryLogin(ctx, id, func() error {
		for {
			pool, err := c.pool(ctx, id)
			if err != nil {
				return err
			}
			err = pool.Do(ctx, mailbox, opts, fn)
			// Replaced between the look and the use, before fn was called.
			if !errors.Is(err, imapconn.ErrPoolClosed) {
				return err
			}
		}
	})
}

// Reselect makes the account's request connections find out anew which mailbox a
// name stands for, as [imapconn.Pool.Reselect] does.
func (c *Connector) Reselect(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pool := c.pools[id]; pool != nil {
		pool.Reselect()
	}
}

// pool gives the account's pool for its present settings.
func (c *Connector) pool(ctx context.Context, id string) (*accountPool, error) {
	a, err := c.config.Registry.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	pool := c.pools[id]
	if pool != nil && pool.revision == a.ConnectionRevision {
		return pool, nil
	}
	if pool != nil {
		c.retire(id)
		c.suspects.Delete(id) // it may be another server
	}
	dialConfig := c.DialConfig(a)
	dialConfig.Suspects = c.suspectsOf(id)
	dialConfig.Compress = worthCompressing(a.IMAP.Host)
	dialConfig.CommandTimeout = min(imapconn.DefaultCommandTimeout, 2*c.config.LinkTimeout/3)
	pool = &accountPool{revision: a.ConnectionRevision, Pool: imapconn.NewPool(imapconn.PoolConfig{
		Config: func(context.Context) (imapconn.Config, error) { return dialConfig, nil },
		Size:   imapconn.ProviderOf(a.IMAP.Host).PoolSize(c.config.PoolSize),
		Limits: c.config.Limits,
	})}
	c.pools[id] = pool
	return pool, nil
}

// suspectsOf is what the connections of an account know of messages that its
// server dies of.
func (c *Connector) suspectsOf(id string) *imapconn.Suspects {
	known, _ := c.suspects.LoadOrStore(id, &imapconn.Suspects{})
	return known.(*imapconn.Suspects)
}

// Dial opens a connection of its own for the account, for watching. It counts
// against the host's limits until it is closed, by the caller. It fails like Do.
//
// The server may be silent for a third of the link timeout when it is asked
// something. Whoever asks once in half of that time finds a dead link in time.
func (c *Connector) Dial(ctx context.Context, a *Account) (*imapconn.Conn, error) {
	var conn *imapconn.Conn
	err := c.retryLogin(ctx, a.ID, func() error {
		config := c.DialConfig(a)
		config.Suspects = c.suspectsOf(a.ID)
		config.CommandTimeout = c.config.LinkTimeout / 3
		if err := c.count(ctx, &config, true); err != nil {
			return err
		}
		var err error
		conn, err = imapconn.Dial(ctx, config)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// DialConfig says how to reach and enter the account's IMAP server.
func (c *Connector) DialConfig(a *Account) imapconn.Config {
	config := imapconn.Config{
		Host: a.IMAP.Host, Port: a.IMAP.Port, TLSMode: imapMode(a.IMAP.TLSMode), TLS: c.tlsConfig(&a.IMAP), Dial: c.dialer(&a.IMAP),
		LinkTimeout: c.config.LinkTimeout, IdleRenewal: imapconn.ProviderOf(a.IMAP.Host).IdleRenewal,
		Auth: imapconn.Auth{Username: a.IMAP.Username, Password: a.IMAP.Password.Reveal()},
	}
	if a.IMAP.OAuth2 != nil {
		id := a.ID
		config.Auth.Token = func(ctx context.Context) (string, error) {
			return c.tokens.token(ctx, grant{account: id})
		}
	}
	return config
}

func imapMode(mode TLSMode) imapconn.TLSMode {
	switch mode {
	case STARTTLS:
		return imapconn.ModeSTARTTLS
	case Plaintext:
		return imapconn.ModePlaintext
	}
	return imapconn.ModeTLS
}

// retryLogin calls attempt, and once more if the server refused an OAuth 2.0
// access token that should still have been good: it may have been revoked, and
// the provider gives another.
func (c *Connector) retryLogin(ctx context.Context, id string, attempt func() error) error {
	err := attempt()
	if _, refused := errors.AsType[*imapconn.AuthError](err); refused && c.tokens.reject(ctx, grant{account: id}) {
		return attempt()
	}
	return err
}

// count waits until a connection may be opened, and has it counted against the
// host's limits until it is closed.
func (c *Connector) count(ctx context.Context, config *imapconn.Config, patient bool) error {
	if c.config.Limits == nil {
		return nil
	}
	place, err := c.config.Limits.Acquire(ctx, config.Host, patient)
	if err != nil {
		return fmt.Errorf("wait for a connection to %s: %w", config.Host, err)
	}
	config.Dial, config.BeforeLogin = counted(config.Dial, place.Release), place.AwaitLogin
	return nil
}

// counted makes dial's connection give release back when it is closed.
func counted(
	dial func(ctx context.Context, network, addr string) (net.Conn, error), release func(),
) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			release()
			return nil, err
		}
		return &countedConn{Conn: conn, release: release}, nil
	}
}

type countedConn struct {
	net.Conn
	release func() // may be called again without effect
}

// NetConn is the connection itself, for the options of its socket.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

// Close closes the connection and gives its place back.
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
