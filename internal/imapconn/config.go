package imapconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
)

// DefaultCommandTimeout is how long a server may be silent in a command before
// the command fails. It is a bound on silence, not on the command: a download
// that makes progress may take as long as it takes.
const DefaultCommandTimeout = 60 * time.Second

// DefaultLinkTimeout is how long a dead link may look alive.
const DefaultLinkTimeout = 90 * time.Second

// redacted stands for a secret wherever one could be printed.
const redacted = "[redacted]"

// TLSMode says how a connection becomes confidential.
type TLSMode int

const (
	// ModeTLS speaks TLS from the first byte, usually on port 993
	// (RFC 8314 section 3). It is the zero value, so forgetting to choose is
	// safe.
	ModeTLS TLSMode = iota
	// ModeSTARTTLS upgrades a connection before the login, usually on port 143.
	// A server that does not offer it is an error, never a reason to go on in
	// clear.
	ModeSTARTTLS
	// ModePlaintext never encrypts: the password crosses the network in clear.
	ModePlaintext
)

// String returns the name that the API uses for the mode.
func (m TLSMode) String() string {
	switch m {
	case ModeTLS:
		return "TLS"
	case ModeSTARTTLS:
		return "STARTTLS"
	case ModePlaintext:
		return "PLAINTEXT"
	}
	return "TLSMode(" + strconv.Itoa(int(m)) + ")"
}

// Auth says who logs in. It prints as [redacted].
type Auth struct {
	Username string
	// Password is used if Token is nil.
	Password string
	// Token, if set, returns an OAuth 2.0 access token, and the login is by
	// OAUTHBEARER or XOAUTH2. It is called once for each connection. Its errors
	// come back wrapped but untyped, because a token endpoint that is down is
	// not an authentication failure.
	Token func(ctx context.Context) (string, error)
}

// String returns [redacted].
func (Auth) String() string { return redacted }

// GoString returns [redacted].
func (Auth) GoString() string { return redacted }

// LogValue implements [slog.LogValuer] with [redacted].
func (Auth) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler with "[redacted]".
func (Auth) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// ClientID is what the client says of itself in the ID command (RFC 2971).
// Some servers refuse to serve a client that does not introduce itself.
type ClientID struct {
	Name, Version, Vendor, SupportURL string
}

// Config says how to reach and enter one account's server. A Config is not
// changed by this package and may be shared by any number of connections.
type Config struct {
	Host string
	// Port is 993 for [ModeTLS] and 143 otherwise if it is 0.
	Port    int
	TLSMode TLSMode
	// TLS is the base of the TLS configuration; nil means the defaults. The
	// server name is Host unless it is set here. TLS before 1.2 is not spoken
	// (RFC 8997), whatever it says.
	TLS  *tls.Config
	Auth Auth
	// Dial makes the network connection; nil means a [net.Dialer]. It is the
	// place for policies on which networks may be reached.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// CommandTimeout bounds the silence of a server within a command; 0 means
	// [DefaultCommandTimeout].
	CommandTimeout time.Duration
	// LinkTimeout is how long a peer that answers nothing may go unnoticed by
	// the operating system, which probes a connection at rest and gives up one
	// whose data are not acknowledged; 0 means [DefaultLinkTimeout]. A link that
	// acknowledges and passes nothing on is found by commands alone.
	LinkTimeout time.Duration
	// BeforeLogin, unless nil, is called before credentials are sent and may
	// wait; done is called when they were accepted or refused. An error ends the
	// attempt to connect.
	BeforeLogin func(ctx context.Context) (done func(), err error)
	// IdleRenewal is the age at which Idle begins its command anew; 0 means 20
	// minutes. Some servers forget a client that idles for longer than theirs.
	IdleRenewal time.Duration
	// Compress asks for COMPRESS=DEFLATE (RFC 4978) after the login where the
	// server has it. It is meant for connections that carry requests: it costs
	// memory all the time, and [Conn.Idle] refuses to wait on it.
	Compress bool
	// Suspects, unless nil, is what the connections of an account know together of
	// messages that the server dies of.
	Suspects *Suspects
	// ID introduces the client; the zero value introduces it as Postern.
	ID ClientID
	// Enable lists the extensions to ask for with ENABLE (RFC 5161), where the
	// server has them; nil means [DefaultEnable].
	Enable []imap.Cap
}

// DefaultEnable returns what a connection enables unless its Config says
// otherwise.
func DefaultEnable() []imap.Cap {
	return []imap.Cap{imap.CapCondStore, imap.CapQResync, imap.CapUTF8Accept, imap.CapIMAP4rev2}
}

// String describes the target without any secret.
func (c Config) String() string {
	return fmt.Sprintf("imap(%s, %s, auth %s)", c.Address(), c.TLSMode, redacted)
}

// GoString describes the target without any secret.
func (c Config) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer] without any secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("address", c.Address()),
		slog.String("tls_mode", c.TLSMode.String()),
		slog.Any("auth", c.Auth),
	)
}

// Address returns host:port, with the mode's usual port if none is set.
func (c *Config) Address() string {
	port := c.Port
	if port == 0 {
		port = 143
		if c.TLSMode == ModeTLS {
			port = 993
		}
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(port))
}

func (c *Config) commandTimeout() time.Duration {
	if c.CommandTimeout > 0 {
		return c.CommandTimeout
	}
	return DefaultCommandTimeout
}

func (c *Config) idleRenewal() time.Duration {
	if c.IdleRenewal > 0 {
		return min(c.IdleRenewal, defaultIdleRenewal)
	}
	return defaultIdleRenewal
}

func (c *Config) linkTimeout() time.Duration {
	if c.LinkTimeout > 0 {
		return c.LinkTimeout
	}
	return DefaultLinkTimeout
}

func (c *Config) tlsConfig() *tls.Config {
	if c.TLS == nil {
		return &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}
	}
	if c.TLS.ServerName != "" && c.TLS.MinVersion >= tls.VersionTLS12 {
		return c.TLS
	}
	cfg := c.TLS.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if cfg.ServerName == "" {
		cfg.ServerName = c.Host
	}
	return cfg
}

func (c *Config) dial(ctx context.Context) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", c.Address())
	if err != nil {
		return nil, err
	}
	keepAlive(conn, c.linkTimeout())
	return conn, nil
}
