package imapconn

import (
	"context"
	"time"
)

// farewell bounds the time that a LOGOUT may take.
const farewell = 2 * time.Second

// Logout ends the session politely (RFC 9051 section 6.1.3) and closes the
// connection. It takes two seconds at most, whatever the server does.
func (c *Conn) Logout(ctx context.Context) error {
	if c.err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	// Servers that answer by closing are as good as those that say BYE.
	_, _ = c.do(ctx, &command{name: "LOGOUT"})
	_ = c.fail(&ClosedError{Err: errLoggedOut})
	return nil
}
