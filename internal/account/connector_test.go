package account_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// dovecotAnn is ann on a real server.
func dovecotAnn(t *testing.T, srv *dovecottest.Server) *account.Account {
	t.Helper()
	username, password := srv.User(t)
	a := ann()
	a.SMTP = nil
	a.IMAP = account.Endpoint{
		Host: srv.Host(), Port: srv.TLSPort(), TLSMode: account.TLS, Username: username, Password: secret.New(password),
	}
	return a
}

func dovecotConfig(srv *dovecottest.Server, registry *account.Registry) account.ConnectorConfig {
	return account.ConnectorConfig{Registry: registry, TLS: &tls.Config{RootCAs: srv.CAs(), MinVersion: tls.VersionTLS12}}
}

func noop(t *testing.T, connector *account.Connector, id string) error {
	t.Helper()
	return connector.Do(t.Context(), id, "INBOX", nil, func(conn *imapconn.Conn) error { return conn.Noop(t.Context()) })
}

// countingDial counts the connections that are made and those that are open.
type countingDial struct{ made, open atomic.Int32 }

func (c *countingDial) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.made.Add(1)
	c.open.Add(1)
	return &countingConn{Conn: conn, open: &c.open}, nil
}

type countingConn struct {
	net.Conn
	open   *atomic.Int32
	closed atomic.Bool
}

func (c *countingConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestDo(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	var count countingDial
	config := dovecotConfig(srv, registry)
	config.Dial = count.dial
	connector := newConnector(t, config)
	a := create(t, registry, dovecotAnn(t, srv))
	if n := count.made.Load(); n != 0 {
		t.Errorf("%d connections before the first request", n)
	}
	for range 3 {
		if err := noop(t, connector, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	if n := count.made.Load(); n != 1 {
		t.Errorf("%d connections for three requests in a row, want 1", n)
	}
	wantError(t, noop(t, connector, "bob"), account.ErrNotFound)

	// A changed name keeps the connection, a changed password replaces it.
	rename(t, registry, "ann", "Ann Lee")
	if err := noop(t, connector, "ann"); err != nil || count.made.Load() != 1 {
		t.Errorf("after a new display name: %v, %d connections", err, count.made.Load())
	}
	setPassword := func(password secret.String) {
		_, err := registry.Update(t.Context(), "ann", "", func(a *account.Account) error {
			a.IMAP.Password = password
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	setPassword(secret.New("wrong"))
	if _, refused := errors.AsType[*imapconn.AuthError](noop(t, connector, "ann")); !refused {
		t.Error("a request after the change of password used the old one")
	}
	waittest.For(t, "the connection with the old password to be closed", func() bool { return count.open.Load() == 0 })
	setPassword(a.IMAP.Password)
	if err := noop(t, connector, "ann"); err != nil {
		t.Errorf("with the right password again: %v", err)
	}

	if err := registry.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	wantError(t, noop(t, connector, "ann"), account.ErrNotFound)
	waittest.For(t, "the connection of the deleted account to be closed", func() bool { return count.open.Load() == 0 })
}

func TestConnectorClose(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	var count countingDial
	config := dovecotConfig(srv, registry)
	config.Dial = count.dial
	connector := newConnector(t, config)
	create(t, registry, dovecotAnn(t, srv))
	if err := noop(t, connector, "ann"); err != nil {
		t.Fatal(err)
	}
	connector.Close()
	if n := count.open.Load(); n != 0 {
		t.Errorf("%d connections are open after Close", n)
	}
	if err := noop(t, connector, "ann"); err == nil {
		t.Error("Do works after Close")
	}
}

func TestDialCountsAgainstTheHost(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	config := dovecotConfig(srv, registry)
	config.Limits = imapconn.NewHostLimits(1, 100)
	connector := newConnector(t, config)
	a := create(t, registry, dovecotAnn(t, srv))
	conn, err := connector.Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Noop(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connector.Dial(ctx, a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second connection where one is allowed: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	// Failed attempts must give their place back too.
	wrong := a.Clone()
	wrong.IMAP.Password = secret.New("wrong")
	closed := a.Clone()
	closed.IMAP.Port = 1
	for range 2 {
		for _, broken := range []*account.Account{wrong, closed} {
			if conn, err := connector.Dial(t.Context(), broken); err == nil {
				conn.Close()
				t.Error("connected with broken settings")
			}
		}
	}
	conn, err = connector.Dial(t.Context(), a)
	if err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	conn.Close()
}

// A server that rejects an access token that has not expired gets a fresh one,
// once; then the rejection stands.
func TestRejectedAccessToken(t *testing.T) {
	t.Parallel()
	srv, registry := dovecottest.Shared(t), newEnv(t).open(t)
	p := newProvider(t)
	connector := newConnector(t, dovecotConfig(srv, registry))
	a := dovecotAnn(t, srv)
	username := a.IMAP.Username
	a.IMAP.Password = secret.String{}
	a.IMAP.OAuth2 = oauthAnn(p.URL).IMAP.OAuth2
	a.IMAP.OAuth2.AccessToken = secret.New("revoked early")
	create(t, registry, a)

	p.mu.Lock()
	p.access = srv.Token(username)
	p.mu.Unlock()
	if err := noop(t, connector, "ann"); err != nil {
		t.Fatalf("the fresh token was not used: %v", err)
	}
	if issued, _ := p.counts(); issued != 1 {
		t.Errorf("%d tokens issued, want 1", issued)
	}

	other := dovecotAnn(t, srv)
	other.ID = "bob"
	other.IMAP.Password = secret.String{}
	q := newProvider(t) // whose tokens the server never accepts
	other.IMAP.OAuth2 = oauthAnn(q.URL).IMAP.OAuth2
	create(t, registry, other)
	for range 3 {
		if _, refused := errors.AsType[*imapconn.AuthError](noop(t, connector, "bob")); !refused {
			t.Error("no AuthError although the server accepts no token")
		}
	}
	if issued, _ := q.counts(); issued != 2 {
		t.Errorf("%d tokens issued to a server that accepts none, want 2", issued)
	}
}
