package idle

import (
	"cmp"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
)

// baseline counts the mail that was there before the account was registered as
// told, without telling of it; the mail that is to be told of nevertheless is
// left to the backfill. Mail that came in between is new: it has a UID that was
// not given out when the folders were listed first, or a date of arrival, on the
// server's clock, which has whole seconds, after that of the registration. In a
// folder that was excluded until now everything is old.
func (o *owner) baseline(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	uids, _, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	opened := conn.SelectData()
	told := diff.Mailbox{UIDValidity: opened.UIDValidity, UIDNext: end(uids), HighestModSeq: opened.HighestModSeq, UIDs: uids}
	if opened.UIDNext > 0 { // what came since the folder was opened is new
		told.UIDNext = min(told.UIDNext, opened.UIDNext)
	}
	if seen := o.first.Seen[f.Key]; !f.left && seen.UIDNext > 0 && seen.UIDValidity == opened.UIDValidity {
		told.UIDNext = min(told.UIDNext, seen.UIDNext)
	}
	told.UIDs = diff.Below(uids, told.UIDNext)
	f.identities = identities{}
	// From the newest on, as long as there is nothing but new mail.
	for rest := told.UIDs; len(rest) > 0; {
		window := last(rest, diff.WindowSize)
		rest = diff.Subtract(rest, window)
		var old, fresh imap.UIDSet
		err = o.fetchIdentities(ctx, conn, window, func(m *imapconn.FetchMessage, emailID string) {
			if !f.left && m.InternalDate.Unix() > o.account.CreateTime.Unix() {
				fresh.AddNum(m.UID)
				return
			}
			old.AddNum(m.UID)
			told.Flags.Set(m.UID, diff.MakeFlags(m.Flags))
			f.identities.set(m.UID, emailID)
		})
		if err != nil {
			return err
		}
		if len(fresh) > 0 {
			told.UIDs = diff.Subtract(told.UIDs, fresh)
			told.UIDNext = min(told.UIDNext, fresh[0].Start)
		}
		if len(old) > 0 || len(fresh) == 0 {
			break
		}
	}
	// What was watched before it was excluded has been told of once.
	if o.account.Backfill == account.BackfillEnvelopes && f.told.UIDNext == 0 && len(told.UIDs) > 0 {
		f.backfill = end(told.UIDs)
	}
	f.told, f.started, f.left, f.dirty = told, true, false, true
	// The snapshot says what is old. Without it an owner that comes after a
	// crash would have to guess again.
	return o.save(ctx)
}

// fetchIdentities fetches what messages are, and visits them by ascending UID.
func (o *owner) fetchIdentities(ctx context.Context, conn *imapconn.Conn, uids imap.UIDSet,
	visit func(m *imapconn.FetchMessage, emailID string),
) error {
	if len(uids) == 0 {
		return nil
	}
	items := &imapconn.FetchOptions{}
	items.Flags, items.InternalDate, items.ModSeq = true, true, true
	o.account.IdentityItems(items)
	answers := make(map[imap.UID]*imapconn.FetchMessage)
	err := conn.Fetch(ctx, uids, items, func(m *imapconn.FetchMessage) error {
		if before := answers[m.UID]; before != nil {
			before.Flags = m.Flags // news of flags behind the answer
		} else if uids.Contains(m.UID) && m.Flags != nil {
			answers[m.UID] = m
		}
		return nil
	})
	if err != nil {
		return err
	}
	messages := make([]*imapconn.FetchMessage, 0, len(answers))
	for _, m := range answers {
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b *imapconn.FetchMessage) int { return cmp.Compare(a.UID, b.UID) })
	envelopes, err := account.ReadEnvelopes(ctx, conn, messages)
	if err != nil {
		return err
	}
	for _, m := range messages {
		visit(m, o.account.EmailID(m, envelopes[m.UID]))
	}
	return nil
}
