package account

import (
	"context"
	"crypto/tls"
	"net"
)

// Unverified reports whether the certificate of an endpoint's server is not
// checked, because whoever runs Postern wants it so.
func (c *Connector) Unverified(e *Endpoint) bool {
	return e.TLSMode != Plaintext && e.Trust.IsZero() && listed(c.config.Allow.Unverified, e)
}

// tlsConfig says how the server of an endpoint proves who it is.
func (c *Connector) tlsConfig(e *Endpoint) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if base := c.config.TLS; base != nil {
		config = base.Clone()
		config.MinVersion = max(base.MinVersion, tls.VersionTLS12)
	}
	if config.ServerName == "" {
		config.ServerName = e.Host
	}
	config.InsecureSkipVerify = c.Unverified(e)
	e.Trust.apply(config)
	return config
}

// dialer makes network connections to the server of an endpoint.
func (c *Connector) dialer(e *Endpoint) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := c.config.Dial
	if e.TLSMode != Plaintext {
		return dial
	}
	endpoint := *e
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if err := c.config.Allow.checkPlaintext(&endpoint, conn.RemoteAddr()); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}
