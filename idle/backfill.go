package idle

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
)

// The mail that was there when an account was registered is told of on request,
// the newest of a folder first. Each event is its own checkpoint: what has a
// higher UID was told of before. Between two steps the owner does all it does
// otherwise, so new mail never waits for more than one.

// backfillAtOnce bounds one step.
const backfillAtOnce = 200

// nextBackfill is the folder whose old mail is to be told of now: INBOX first,
// then by name. It is nil when there is none, or none that can be read.
func (o *owner) nextBackfill() *folderState {
	now := time.Now()
	if now.Before(o.backfillAfter) {
		return nil
	}
	var next *folderState
	for _, f := range o.names {
		switch {
		case f.backfill == 0 || !f.comparable() || now.Before(f.parked):
		case next == nil, f == o.inbox, next != o.inbox && f.Name < next.Name:
			next = f
		}
	}
	return next
}

// backfill tells of some old mail, if there is any to tell of.
func (o *owner) backfill(ctx context.Context) error {
	f := o.nextBackfill()
	if f == nil {
		return nil
	}
	err := o.bulk(ctx, func() error {
		return o.config.Connector.Do(ctx, o.id(), "", &imapconn.DoOptions{ReadOnly: true}, func(conn *imapconn.Conn) error {
			return o.tellOld(ctx, conn, f)
		})
	})
	var refused *imapconn.Error
	switch {
	case err == nil:
		f.failures = 0
		return o.finishSync(ctx)
	case ctx.Err() != nil || isLogError(err) || credentialsRefused(err):
		return err
	case imapconn.WorthRepeating(err):
		return nil
	case errors.As(err, &refused) && !isThrottled(err):
		o.unselectable(f, err)
	default:
		o.log.Info("old mail cannot be read", "folder", f.Key.String(), "error", err)
	}
	o.backfillAfter = o.nextPoll
	return nil
}

// tellOld tells of the newest of a folder's messages that have not been told of.
func (o *owner) tellOld(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	opened, err := conn.Select(ctx, f.Name, &imapconn.SelectOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	if opened.UIDValidity != f.told.UIDValidity {
		f.mark, o.backfillAfter = mark{}, o.nextPoll // the next poll finds out
		return nil
	}
	batch := last(diff.Below(f.told.UIDs, f.backfill), backfillAtOnce)
	old := make([]*imapconn.FetchMessage, 0, backfillAtOnce)
	if len(batch) > 0 {
		err = conn.Fetch(ctx, batch, o.newMailItems(), func(m *imapconn.FetchMessage) error {
			if isWhole(m) && batch.Contains(m.UID) && len(old) < backfillAtOnce {
				old = append(old, m)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(old, func(a, b *imapconn.FetchMessage) int { return int(int64(b.UID) - int64(a.UID)) })
	old = slices.CompactFunc(old, func(a, b *imapconn.FetchMessage) bool { return a.UID == b.UID })
	envelopes, err := account.ReadEnvelopes(ctx, conn, old)
	if err != nil {
		return err
	}
	events, now, after := make([]event.Event, len(old)), time.Now(), o.writer.Head().Number
	for i, m := range old {
		emailID := o.account.EmailID(m, envelopes[m.UID])
		ref := event.MessageAt(o.id(), f.messageID(m.UID), emailID, "")
		events[i] = event.New(o.id(), after+uint64(i), now, createdData(ref, m, envelopes[m.UID], event.OriginBackfill))
		events[i].Checkpoint = f.checkpoint()
		f.filled(m.UID, diff.MakeFlags(m.Flags), emailID)
	}
	if len(events) > 0 {
		if err := o.append(ctx, events); err != nil {
			return err
		}
	}
	// What the server did not give is not asked for again.
	if f.backfill = 0; len(batch) > 0 && batch[0].Start > 1 && len(diff.Below(f.told.UIDs, batch[0].Start)) > 0 {
		f.backfill = batch[0].Start
	}
	f.dirty = true
	return nil
}

// filled moves the folder past a message that was there at first.
func (f *folderState) filled(uid imap.UID, flags diff.Flags, emailID string) {
	f.backfill = min(f.backfill, uid)
	f.identities.set(uid, emailID)
	if f.told.UIDs.Contains(uid) {
		f.told.Flags.Set(uid, flags)
	}
	f.dirty = true
}
