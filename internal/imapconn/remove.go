package imapconn

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// Remove removes messages from the selected mailbox for good, and no others:
// those that somebody else has flagged \Deleted stay, flagged as they are.
//
// Without UIDPLUS an EXPUNGE takes all that are flagged. There the flags of the
// others are lifted before it and put back after it, as other clients do that
// are careful (MailKit, Evolution). It is carried through even if ctx ends in
// the midst of it. If the connection is lost then, the others stay without the
// flag: no mail is lost. What somebody flags in the same moment goes along.
func (c *Conn) Remove(ctx context.Context, uids imap.UIDSet) error {
	for _, part := range splitSet(uids) {
		if err := c.removePart(ctx, part.(imap.UIDSet)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) removePart(ctx context.Context, uids imap.UIDSet) error {
	if c.Has(imap.CapUIDPlus) {
		if err := c.flagDeleted(ctx, imap.StoreFlagsAdd, uids); err != nil {
			return err
		}
		return c.Expunge(ctx, uids)
	}
	criteria := &SearchCriteria{}
	criteria.Flag = []imap.Flag{imap.FlagDeleted}
	criteria.SearchCriteria.Not = []imap.SearchCriteria{{UID: []imap.UIDSet{uids}}}
	others, err := c.Search(ctx, criteria, nil)
	if err != nil {
		return err
	}
	if err := c.flagDeleted(ctx, imap.StoreFlagsAdd, uids); err != nil {
		return err
	}
	if len(others.All) == 0 {
		return c.ExpungeAll(ctx)
	}
	ctx = context.WithoutCancel(ctx)
	err = c.flagDeleted(ctx, imap.StoreFlagsDel, others.All)
	if err == nil {
		err = c.ExpungeAll(ctx)
	}
	if back := c.flagDeleted(ctx, imap.StoreFlagsAdd, others.All); back != nil {
		err = errors.Join(err, fmt.Errorf("put the \\Deleted flags of other messages back: %w", back))
	}
	return err
}

func (c *Conn) flagDeleted(ctx context.Context, op imap.StoreFlagsOp, uids imap.UIDSet) error {
	_, err := c.Store(ctx, uids, &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil)
	return err
}
