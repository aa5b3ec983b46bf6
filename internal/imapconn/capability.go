package imapconn

import (
	"context"
	"errors"
	"maps"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Capability asks the server for its capabilities (RFC 9051 section 6.1.1).
// Dial does so when it is due.
func (c *Conn) Capability(ctx context.Context) (imap.CapSet, error) {
	c.caps = nil
	if _, err := c.do(ctx, &command{name: "CAPABILITY", data: c.capabilityData}); err != nil {
		return nil, err
	}
	if c.caps == nil {
		return nil, c.fail(&ProtocolError{Command: "CAPABILITY", Err: errors.New("no capabilities in the answer")})
	}
	return c.caps.set, nil
}

// capabilityData claims the CAPABILITY response.
func (c *Conn) capabilityData(r imapwire.Response) (bool, error) {
	if r.Name != "CAPABILITY" {
		return false, nil
	}
	return true, c.readCapability()
}

func (c *Conn) readCapability() error {
	caps, err := c.dec.Capability()
	if err == nil {
		c.setCaps(caps)
	}
	return err
}

// Ignore makes the connection do without a capability that the server lists and
// does not live up to.
func (c *Conn) Ignore(ignored imap.Cap) {
	rest := maps.Clone(c.Caps())
	delete(rest, ignored)
	c.setCaps(rest)
}

func (c *Conn) setCaps(caps imap.CapSet) { c.caps = internCaps(caps) }
