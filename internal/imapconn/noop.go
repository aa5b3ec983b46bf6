package imapconn

import "context"

// Noop gives the server an opportunity to tell what is new: see Updates
// (RFC 9051 section 6.1.2).
func (c *Conn) Noop(ctx context.Context) error {
	_, err := c.do(ctx, &command{name: "NOOP"})
	return err
}
