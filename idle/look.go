package idle

import (
	"cmp"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// lookAtOpened compares the folder that is open on conn with what was told, and
// tells the difference. data is what the server said when the folder was opened
// just now, nil when it has been open. Unless full, only new mail is looked for.
// more says that there is more new mail than one look takes; look again.
func (o *owner) lookAtOpened(ctx context.Context, conn *imapconn.Conn, f *folderState, data *imapconn.SelectData, full bool) (more bool, err error) {
	if !f.started {
		if err := o.baseline(ctx, conn, f, data); err != nil {
			return false, err
		}
	}
	if data != nil && data.UIDValidity != 0 && data.UIDValidity != f.told.UIDValidity {
		if err := o.reset(ctx, f, data.UIDValidity); err != nil {
			return false, err
		}
	}
	origin := event.OriginNew
	if f.resetting {
		origin = event.OriginResync
		if err := o.matchAgain(ctx, conn, f, data); err != nil {
			return false, err
		}
	}
	if f.uidsUnknown {
		if err := o.listAgain(ctx, conn, f); err != nil {
			return false, err
		}
	}
	if f == o.inbox && !full {
		conn.QueueIdle() // the server can push again while the event is made
	}
	l := &look{owner: o, conn: conn, folder: f, opened: data}
	if err := l.run(ctx, full); err != nil {
		return false, err
	}
	return l.more, o.tellChanges(ctx, l, origin)
}

// lookAtInbox looks at INBOX, which is open on the watching connection, until
// all is told.
func (o *owner) lookAtInbox(ctx context.Context, conn *imapconn.Conn, data *imapconn.SelectData, full bool) error {
	for {
		more, err := o.lookAtOpened(ctx, conn, o.inbox, data, full)
		if err != nil || !more {
			return err
		}
	}
}

// look gathers what one look at an open folder finds.
type look struct {
	owner  *owner
	conn   *imapconn.Conn
	folder *folderState
	opened *imapconn.SelectData

	found diff.Look
	// arrived are the new messages, for what is told of them, and envelopes
	// theirs.
	arrived   []*imapconn.FetchMessage
	envelopes map[imap.UID]*message.Envelope
	// more says that there is new mail that this look did not take.
	more bool
}

func (l *look) run(ctx context.Context, full bool) error {
	if err := l.fetchNew(ctx); err != nil {
		return err
	}
	var err error
	if l.envelopes, err = account.ReadEnvelopes(ctx, l.conn, l.arrived); err != nil {
		return err
	}
	if !full || l.more {
		return nil // what else there is can wait for the last look
	}
	if err := l.fetchChanges(ctx); err != nil {
		return err
	}
	return l.findDeleted(ctx)
}

// envelopesAtOnce bounds the new messages whose envelopes are held in memory
// together.
const envelopesAtOnce = 500

// fetchNew fetches all mail that has not been told of. The set n:* always has
// the last message, new or not (RFC 9051 section 6.4.5); diff sorts that out.
func (l *look) fetchNew(ctx context.Context) error {
	told := &l.folder.told
	if l.conn.NumMessages() == 0 {
		return nil
	}
	set := imap.UIDSet{{Start: told.UIDNext, Stop: 0}}
	// A server that tells a message's number before it can be fetched answers
	// with fewer than it told of; the next hint or poll looks again.
	if unseen := int64(l.conn.NumMessages()) - int64(told.Count()); unseen > envelopesAtOnce {
		var err error
		if set, err = l.firstOf(ctx, set); err != nil || len(set) == 0 {
			return err
		}
	}
	return l.conn.Fetch(ctx, set, l.owner.newMailItems(), func(m *imapconn.FetchMessage) error {
		if m.UID == 0 || m.UID < told.UIDNext {
			return nil
		}
		if m.Flags == nil { // an answer that is only half there
			return nil
		}
		l.arrived = append(l.arrived, m)
		l.see(m)
		return nil
	})
}

// firstOf narrows a set down to the first messages that there are in it.
func (l *look) firstOf(ctx context.Context, set imap.UIDSet) (imap.UIDSet, error) {
	found, err := l.conn.Search(ctx, &imapconn.SearchCriteria{
		SearchCriteria: imap.SearchCriteria{UID: []imap.UIDSet{set}},
	}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	var first imap.UIDSet
	left := envelopesAtOnce
	for uid := range diff.All(found.All) {
		if uid < l.folder.told.UIDNext {
			continue
		}
		if left--; left < 0 {
			l.more = true
			break
		}
		first.AddNum(uid)
	}
	return first, nil
}

func (l *look) see(m *imapconn.FetchMessage) {
	l.found.Messages = append(l.found.Messages, diff.Message{UID: m.UID, Flags: diff.MakeFlags(m.Flags), ModSeq: m.ModSeq})
}

// newMailItems are what an announcement of new mail is made of.
func (o *owner) newMailItems() *imapconn.FetchOptions {
	items := &imapconn.FetchOptions{Preview: true}
	items.Flags, items.Envelope, items.InternalDate, items.RFC822Size = true, true, true, true
	items.ModSeq = true
	o.account.IdentityItems(items)
	return items
}

// fetchChanges fetches the flags that may have changed: those that the server
// says did (CONDSTORE, RFC 7162 section 3.1.4), else those of the newest
// messages. With QRESYNC the same command tells what vanished.
func (l *look) fetchChanges(ctx context.Context) error {
	told := &l.folder.told
	if told.UIDNext <= 1 || len(told.UIDs) == 0 {
		return nil
	}
	items := &imapconn.FetchOptions{}
	items.Flags = true
	set := imap.UIDSet{{Start: 1, Stop: told.UIDNext - 1}}
	byModSeq := l.conn.Has(imap.CapCondStore) && told.HighestModSeq > 0
	if byModSeq {
		if l.opened != nil && l.opened.HighestModSeq == told.HighestModSeq {
			return nil
		}
		items.ModSeq, items.ChangedSince = true, told.HighestModSeq
		items.Vanished = l.vanished
	} else {
		set = l.window()
	}
	if l.opened != nil {
		l.found.HighestModSeq = l.opened.HighestModSeq
	}
	return l.conn.Fetch(ctx, set, items, func(m *imapconn.FetchMessage) error {
		if m.UID == 0 || m.Flags == nil {
			return nil
		}
		l.see(m)
		// All changes up to the highest of the answers are among the answers.
		if byModSeq {
			l.found.HighestModSeq = max(l.found.HighestModSeq, m.ModSeq)
		}
		return nil
	})
}

func (l *look) vanished(uids imap.UIDSet) {
	l.found.Vanished = diff.Union(l.found.Vanished, uids)
}

// window are the messages whose flags are remembered.
func (l *look) window() imap.UIDSet {
	var set imap.UIDSet
	l.folder.told.Flags.Each(func(uid imap.UID, _ diff.Flags) { set.AddNum(uid) })
	return set
}

// findDeleted lists all UIDs if the number of messages says that some have
// gone which VANISHED did not name. Equal numbers mean that none has: each new
// message was fetched and counted. HIGHESTMODSEQ proves nothing here, since
// without QRESYNC an EXPUNGE need not raise it (RFC 7162 section 3.1.2.1).
func (l *look) findDeleted(ctx context.Context) error {
	told := &l.folder.told
	left := diff.Subtract(told.UIDs, l.found.Vanished)
	if diff.Count(left)+uint64(len(l.arrived)) == uint64(l.conn.NumMessages()) {
		return nil
	}
	var err error
	l.found.Present, err = allUIDs(ctx, l.conn)
	l.found.HasPresent = err == nil
	return err
}

// allUIDs lists the UIDs of the open folder.
func allUIDs(ctx context.Context, conn *imapconn.Conn) (imap.UIDSet, error) {
	if conn.NumMessages() == 0 {
		return nil, nil
	}
	found, err := conn.Search(ctx, &imapconn.SearchCriteria{}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	return found.All, nil
}

// baseline counts the mail that was there before the account was registered as
// told, without telling of it. Mail that came in between is new: it is known by
// its date of arrival, on the server's clock, which has whole seconds.
func (o *owner) baseline(ctx context.Context, conn *imapconn.Conn, f *folderState, data *imapconn.SelectData) error {
	uids, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	told := diff.Mailbox{UIDValidity: data.UIDValidity, UIDNext: 1, HighestModSeq: data.HighestModSeq, UIDs: uids}
	if len(uids) > 0 {
		told.UIDNext = max(told.UIDNext, uids[len(uids)-1].Stop, uids[len(uids)-1].Stop+1)
	}
	if data.UIDNext > 0 {
		told.UIDNext = min(told.UIDNext, data.UIDNext) // what came since is new
	}
	f.identities = nil
	err = o.fetchNewest(ctx, conn, uids, func(m *imapconn.FetchMessage, emailID string) {
		told.Flags.Set(m.UID, diff.MakeFlags(m.Flags))
		f.remember(emailID)
		if m.InternalDate.Unix() > o.account.CreateTime.Unix() {
			told.UIDNext = min(told.UIDNext, m.UID)
		}
	})
	if err != nil {
		return err
	}
	told.UIDs = diff.Below(uids, told.UIDNext)
	told.Flags.DeleteFrom(told.UIDNext)
	f.told, f.started, f.dirty = told, true, true
	// The snapshot says what is old. Without it an owner that comes after a
	// crash would have to guess again.
	return o.save(ctx)
}

// fetchNewest fetches what the newest messages are, by ascending UID.
func (o *owner) fetchNewest(ctx context.Context, conn *imapconn.Conn, uids imap.UIDSet,
	visit func(m *imapconn.FetchMessage, emailID string),
) error {
	newest := last(uids, diff.WindowSize)
	if len(newest) == 0 {
		return nil
	}
	items := &imapconn.FetchOptions{}
	items.Flags, items.InternalDate, items.ModSeq = true, true, true
	o.account.IdentityItems(items)
	var messages []*imapconn.FetchMessage
	err := conn.Fetch(ctx, newest, items, func(m *imapconn.FetchMessage) error {
		if m.UID > 0 && m.Flags != nil {
			messages = append(messages, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	envelopes, err := account.ReadEnvelopes(ctx, conn, messages)
	if err != nil {
		return err
	}
	slices.SortFunc(messages, func(a, b *imapconn.FetchMessage) int { return cmp.Compare(a.UID, b.UID) })
	for _, m := range messages {
		visit(m, o.account.EmailID(m, envelopes[m.UID]))
	}
	return nil
}

// last returns the n highest UIDs of a set.
func last(set imap.UIDSet, n uint64) imap.UIDSet {
	for i := len(set) - 1; i >= 0; i-- {
		size := uint64(set[i].Stop) - uint64(set[i].Start) + 1
		if size >= n {
			rest := slices.Clone(set[i:])
			rest[0].Start = rest[0].Stop - imap.UID(n) + 1
			return rest
		}
		n -= size
	}
	return set
}

// reset announces that the server renumbered a folder.
func (o *owner) reset(ctx context.Context, f *folderState, validity uint32) error {
	previous := f.told.UIDValidity
	f.told = diff.Mailbox{UIDValidity: validity}
	f.resetting, f.dirty = true, true
	return o.tellOf(ctx, f, &event.FolderReset{
		FolderRef:           event.FolderAt(o.id(), f.Key, f.Path()),
		PreviousUIDValidity: previous, UIDValidity: validity,
	})
}

// matchAgain finds the mail that was told of under a folder's former numbers,
// by what it is, and counts it as told. What is new among the newest messages
// is then told of as found again; what is older than all that is remembered was
// told of, or was there before.
func (o *owner) matchAgain(ctx context.Context, conn *imapconn.Conn, f *folderState, data *imapconn.SelectData) error {
	uids, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	known := make(map[uint64]bool, len(f.identities))
	for _, id := range f.identities {
		known[id] = true
	}
	told := diff.Mailbox{UIDValidity: f.told.UIDValidity, UIDNext: 1, UIDs: uids}
	if data != nil {
		told.HighestModSeq = data.HighestModSeq
	}
	if len(uids) > 0 {
		told.UIDNext = uids[len(uids)-1].Stop + 1
	}
	var unknown imap.UIDSet
	err = o.fetchNewest(ctx, conn, uids, func(m *imapconn.FetchMessage, emailID string) {
		if known[identityHash(emailID)] {
			told.Flags.Set(m.UID, diff.MakeFlags(m.Flags))
		} else {
			unknown.AddNum(m.UID)
		}
	})
	if err != nil {
		return err
	}
	told.UIDs = diff.Subtract(uids, unknown)
	if len(unknown) > 0 {
		told.UIDNext = unknown[0].Start
	}
	f.told, f.resetting, f.uidsUnknown, f.dirty = told, false, false, true
	return o.save(ctx)
}

// listAgain lists the UIDs of a folder whose list was lost. What was deleted
// meanwhile cannot be told any more.
func (o *owner) listAgain(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	uids, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	f.told.UIDs = diff.Below(uids, f.told.UIDNext)
	f.uidsUnknown, f.dirty = false, true
	return o.tellOf(ctx, f, &event.AccountGap{
		AccountRef: event.AccountAt(o.id()),
		Folder:     event.FolderName(o.id(), f.Key),
		Reason:     "The folder's list of messages had to be made anew; deletions since it was last watched are not known.",
	})
}
