package imapconn

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// RemainError says that messages were copied and could not be removed from
// where they were: they are in both mailboxes.
type RemainError struct {
	// Copied says which message became which, or is nil where the server does
	// not tell.
	Copied *CopyData
	Err    error
}

func (e *RemainError) Error() string {
	return fmt.Sprintf("the messages were copied and not removed: %v", e.Err)
}

// Unwrap returns why they could not be removed.
func (e *RemainError) Unwrap() error { return e.Err }

// Move moves messages to another mailbox (RFC 6851). Without the capability it
// is COPY and, only if that succeeded, [Conn.Remove]; if that fails, the error
// is a [*RemainError].
//
// The result is nil where the server does not tell the new UIDs (UIDPLUS).
func (c *Conn) Move(ctx context.Context, uids imap.UIDSet, mailbox string) (*CopyData, error) {
	if c.Has(imap.CapMove) {
		return c.transfer(ctx, "MOVE", uids, mailbox)
	}
	copied, err := c.Copy(ctx, uids, mailbox)
	if err != nil {
		return nil, err
	}
	if err := c.Remove(ctx, uids); err != nil {
		return copied, &RemainError{Copied: copied, Err: err}
	}
	return copied, nil
}
