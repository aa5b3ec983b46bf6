package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"
)

// MoveData is the outcome of a move that was carried out.
type MoveData struct {
	// Copied says which message became which, or is nil where the server does
	// not tell.
	Copied *CopyData
	// Remaining says that the messages are still in the old mailbox, flagged
	// \Deleted: the server has neither MOVE nor UIDPLUS, and an EXPUNGE would
	// take messages along that others have flagged.
	Remaining bool
}

// Move moves messages to another mailbox (RFC 6851). Without the capability it
// is COPY and, only if that succeeded, STORE and UID EXPUNGE.
//
// If it fails after the messages were copied the result is not nil beside the
// error.
func (c *Conn) Move(ctx context.Context, uids imap.UIDSet, mailbox string) (*MoveData, error) {
	if c.Has(imap.CapMove) {
		copied, err := c.transfer(ctx, "MOVE", uids, mailbox)
		if err != nil {
			return nil, err
		}
		return &MoveData{Copied: copied}, nil
	}
	copied, err := c.Copy(ctx, uids, mailbox)
	if err != nil {
		return nil, err
	}
	data := &MoveData{Copied: copied, Remaining: true}
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if _, err := c.Store(ctx, uids, deleted, nil); err != nil {
		return data, err
	}
	if !c.Has(imap.CapUIDPlus) {
		return data, nil
	}
	if err := c.Expunge(ctx, uids); err != nil {
		return data, err
	}
	data.Remaining = false
	return data, nil
}
