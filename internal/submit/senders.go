package submit

import (
	"context"
	"errors"
	"sync"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// Connector reaches the SMTP servers of accounts.
type Connector interface {
	SMTPConfig(ctx context.Context, a *account.Account) (smtpconn.Config, error)
	SMTPRefused(ctx context.Context, a *account.Account) bool
}

// Senders keeps a pool of connections for each account that sends. It is safe for
// concurrent use.
type Senders struct {
	connector Connector
	limits    *imapconn.HostLimits

	mu     sync.Mutex
	pools  map[string]*accountPool
	closed bool
}

// accountPool is a pool with the server that its connections were made to.
type accountPool struct {
	*smtpconn.Pool
	login account.Endpoint
}

// NewSenders makes the pools of connections, each as large as an account may have it;
// how much of it one uses, the outbox decides. The limits bound what all accounts do to one host; nil means no bound.
// Close ends them.
func NewSenders(connector Connector, limits *imapconn.HostLimits) *Senders {
	return &Senders{connector: connector, limits: limits, pools: make(map[string]*accountPool)}
}

// Send hands a message to the account's server, on a connection that is kept for
// the next one. It fails like [smtpconn.Conn.Send], with [account.ErrNoSMTP], and
// with the errors of the account's OAuth 2.0 token.
func (s *Senders) Send(ctx context.Context, a *account.Account, m *smtpconn.Message) (*smtpconn.Receipt, error) {
	receipt, err := s.try(ctx, a, m)
	// A login that is refused comes before anything is read of the message.
	if _, refused := errors.AsType[*imapconn.AuthError](err); refused && s.connector.SMTPRefused(ctx, a) {
		return s.try(ctx, a, m)
	}
	return receipt, err
}

func (s *Senders) try(ctx context.Context, a *account.Account, m *smtpconn.Message) (receipt *smtpconn.Receipt, err error) {
	pool, err := s.pool(a)
	if err != nil {
		return nil, err
	}
	err = pool.Do(ctx, func(c *smtpconn.Conn) error {
		receipt, err = c.Send(ctx, m)
		return err
	})
	return receipt, err
}

// pool gives the account's pool for its present server.
func (s *Senders) pool(a *account.Account) (*accountPool, error) {
	login, ok := a.SMTPLogin()
	if !ok {
		return nil, account.ErrNoSMTP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the outbox is closed")
	}
	pool := s.pools[a.ID]
	// A fresh access token is no other login: open connections go on.
	if pool != nil && pool.login.SameLogin(login) {
		return pool, nil
	}
	if pool != nil {
		pool.Close()
	}
	pool = &accountPool{login: login, Pool: smtpconn.NewPool(smtpconn.PoolConfig{
		Config: func(ctx context.Context) (smtpconn.Config, error) { return s.connector.SMTPConfig(ctx, a) },
		Size:   account.MaxSendingConcurrency,
		Limits: s.limits,
	})}
	s.pools[a.ID] = pool
	return pool, nil
}

// Close closes the connections at rest; those in use are closed when they are given
// back.
func (s *Senders) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, pool := range s.pools {
		pool.Close()
	}
}
