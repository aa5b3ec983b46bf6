package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Expunge removes those of the messages that are flagged \Deleted, by UID
// EXPUNGE (RFC 9051 section 6.4.9). It fails without UIDPLUS.
func (c *Conn) Expunge(ctx context.Context, uids imap.UIDSet) error {
	if c.usable() == nil && !c.Has(imap.CapUIDPlus) {
		return &CapabilityError{Command: "UID EXPUNGE", Cap: imap.CapUIDPlus}
	}
	for _, part := range splitSet(uids) {
		_, err := c.do(ctx, &command{name: "UID EXPUNGE", encode: func(e *imapwire.Encoder) {
			e.Atom("UID").SP().Atom("EXPUNGE").SP().NumSet(part)
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// ExpungeAll removes all messages of the selected mailbox that are flagged
// \Deleted, whoever flagged them (RFC 9051 section 6.4.3).
func (c *Conn) ExpungeAll(ctx context.Context) error {
	_, err := c.do(ctx, &command{name: "EXPUNGE"})
	return err
}
