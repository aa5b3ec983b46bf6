package gateway

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/moves"
)

// changeSome changes a batch of messages of one folder. It fails only where the
// whole call is to end; what befalls the messages it notes.
func (s *messageService) changeSome(ctx context.Context, b *batch, g *group, uids imap.UIDSet) error {
	var done changed
	err := s.deleting(ctx, b.account.ID, func(trash *folder.Folder) error {
		if trash != nil {
			b.change.trash = trash
		}
		return s.mailboxes.Do(ctx, b.account.ID, g.folder.Name, writeOnce, func(c *imapconn.Conn) error {
			if c.SelectData().UIDValidity != g.UIDValidity {
				return uidValidityChanged()
			}
			return s.apply(ctx, c, b, g, uids, &done)
		})
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refusal *failure
	switch {
	case err != nil && errors.As(err, &refusal) && refusal.reason == reasonUIDValidityChanged:
		b.failAll(ctx, g, uids, err)
	case err != nil:
		b.failAll(ctx, g, uids, err)
		if b.refused == nil {
			b.refused = err
		}
	default:
		s.count(ctx, b, g, uids, &done)
	}
	return b.progress(b.resp)
}

// count notes what became of a batch.
func (s *messageService) count(ctx context.Context, b *batch, g *group, uids imap.UIDSet, done *changed) {
	gone := subtract(uids, done.uids)
	b.resp.Modified += countUIDs(done.uids)
	if done.copied != nil && !g.found {
		b.renamed(g, done)
	}
	if g.found { // the filter would not find them any more
		b.resp.Matched -= countUIDs(gone)
		return
	}
	for _, uid := range uidsOf(gone, batchSize) {
		id := folder.MessageID{Folder: g.Folder, UIDValidity: g.UIDValidity, UID: uid}
		b.fail(ctx, b.name(g.Place, uid), s.orMoved(ctx, b.account.ID, id, messageGone()))
	}
}

// renamed notes the new names of messages that were moved.
func (b *batch) renamed(g *group, done *changed) {
	to := moves.Place{Folder: b.change.to.Key, UIDValidity: done.copied.UIDValidity}
	for _, uid := range uidsOf(done.uids, batchSize) {
		if moved, ok := imapwire.CopiedTo(done.copied, uid); ok {
			b.resp.Renamed = append(b.resp.Renamed, &posternv1.BatchModifyMessagesResponse_Renamed{
				Name: b.name(g.Place, uid), NewName: b.name(to, moved),
			})
		}
	}
}

// changed is what a change was made of.
type changed struct {
	uids   imap.UIDSet
	copied *imap.CopyData
}

// apply changes those of the messages that are in the selected mailbox. They
// are looked for again, once, if the server refuses because some are gone.
func (s *messageService) apply(ctx context.Context, c *imapconn.Conn, b *batch, g *group, uids imap.UIDSet, done *changed) error {
	for attempt := range 2 {
		criteria := &imapconn.SearchCriteria{}
		criteria.UID = []imap.UIDSet{uids}
		found, err := c.Search(ctx, criteria, nil)
		if err != nil {
			return err
		}
		done.uids = found.All
		if len(found.All) == 0 {
			return nil
		}
		done.copied, err = s.applyTo(ctx, c, b, g, found.All)
		if err == nil || attempt > 0 || !imapconn.IsGone(err) {
			return err
		}
		if err := c.Noop(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *messageService) applyTo(ctx context.Context, c *imapconn.Conn, b *batch, g *group, uids imap.UIDSet) (*imap.CopyData, error) {
	ch := &b.change
	if err := ch.store(ctx, c, uids); err != nil {
		return nil, err
	}
	switch {
	case ch.delete:
		return nil, discard(ctx, c, uids, g.folder, ch.trash)
	case ch.to != nil && ch.to.Key != g.folder.Key:
		return s.moveSet(ctx, c, b.account.ID, g.Place, uids, *ch.to, nil)
	}
	return nil, nil
}

// store changes flags and labels.
func (ch *change) store(ctx context.Context, c *imapconn.Conn, uids imap.UIDSet) error {
	if len(ch.addFlags)+len(ch.removeFlags) > 0 {
		if err := checkKeepable(c.SelectData(), ch.addFlags); err != nil {
			return err
		}
	}
	for _, f := range []imap.StoreFlags{
		{Op: imap.StoreFlagsAdd, Silent: true, Flags: ch.addFlags},
		{Op: imap.StoreFlagsDel, Silent: true, Flags: ch.removeFlags},
	} {
		if len(f.Flags) == 0 {
			continue
		}
		if _, err := c.Store(ctx, uids, &f, nil); err != nil {
			return err
		}
	}
	if len(ch.addLabels) > 0 {
		if err := c.StoreLabels(ctx, uids, imap.StoreFlagsAdd, ch.addLabels); err != nil {
			return err
		}
	}
	if len(ch.removeLabels) > 0 {
		return c.StoreLabels(ctx, uids, imap.StoreFlagsDel, ch.removeLabels)
	}
	return nil
}
