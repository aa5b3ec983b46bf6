package imapconn

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"
)

// startTLS upgrades the connection (RFC 9051 section 6.2.1). What was learned
// before it could have been forged and is forgotten.
func (c *Conn) startTLS(ctx context.Context, cfg *Config) error {
	if c.caps == nil {
		if _, err := c.Capability(ctx); err != nil {
			return err
		}
	}
	if !c.Has(imap.CapStartTLS) {
		return c.fail(&TLSError{Err: &CapabilityError{Command: "STARTTLS", Cap: imap.CapStartTLS}})
	}
	if _, err := c.do(ctx, &command{name: "STARTTLS"}); err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			return c.fail(&TLSError{Err: err})
		}
		return err
	}
	// Whatever follows the server's OK in clear was put there by somebody in
	// between, to be taken for an answer under TLS.
	if c.dec.Buffered() > 0 {
		return c.fail(&TLSError{Err: errors.New("data in clear follows the server's consent to STARTTLS: somebody in between may have put it there")})
	}
	if err := c.handshake(ctx, cfg); err != nil {
		return c.fail(err)
	}
	c.dec.Reset(&c.t)
	c.caps = nil
	c.updates = Updates{}
	return nil
}
