package smtpconn

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Default time-outs. RFC 5321 section 4.5.3.2 asks for 5 minutes to most
// commands and 10 to the end of the data; the first only makes dead links cost
// more, and the second is kept because giving up there leaves a message in
// doubt.
const (
	DefaultCommandTimeout = time.Minute
	DefaultDataTimeout    = 10 * time.Minute
)

// Config says how to reach a server and log in to it.
type Config struct {
	Host    string
	Port    int
	TLSMode imapconn.TLSMode
	// TLS is the base of the TLS configuration; nil means the system's roots.
	// TLS before 1.2 is not spoken, whatever it says.
	TLS *tls.Config
	// Dial makes the network connection; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Credentials are what to log in with. Without a user name there is no login.
	Credentials imapconn.Credentials
	// Hello is the name that the client gives itself; empty means "localhost",
	// which says nothing about the machine.
	Hello string
	// CommandTimeout bounds the wait for one answer, and for the server to take
	// the next piece of a message; DataTimeout that for the answer to a message.
	// 0 means the default.
	CommandTimeout, DataTimeout time.Duration
}

func (c *Config) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

func (c *Config) hello() string {
	if c.Hello == "" {
		return "localhost"
	}
	return c.Hello
}

func (c *Config) commandTimeout() time.Duration {
	if c.CommandTimeout <= 0 {
		return DefaultCommandTimeout
	}
	return c.CommandTimeout
}

func (c *Config) dataTimeout() time.Duration {
	if c.DataTimeout <= 0 {
		return DefaultDataTimeout
	}
	return c.DataTimeout
}

func (c *Config) tlsConfig() *tls.Config {
	config := c.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12) // RFC 8997
	if config.ServerName == "" {
		config.ServerName = c.Host
	}
	return config
}

func (c *Config) dial(ctx context.Context) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, "tcp", c.address())
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", c.address())
}
