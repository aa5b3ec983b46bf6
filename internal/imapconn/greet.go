package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"
)

// Greet connects, secures the connection, and takes leave once the server has greeted
// and said what it can do. Nobody logs in. It fails as [Dial] does, but for what the
// login can fail with.
func Greet(ctx context.Context, cfg Config) (imap.CapSet, error) {
	c, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if _, err := c.begin(ctx, &cfg); err != nil {
		_ = c.Close()
		return nil, err
	}
	caps := c.Caps().Copy()
	return caps, c.Logout(ctx)
}
