package idle

import (
	"cmp"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// lookAtOpened compares the folder that is open on conn with what was told, and
// tells the difference. fresh says that it was opened just now. Unless full,
// only new mail is looked for. more says that there is more new mail than one
// look takes; look again.
func (o *owner) lookAtOpened(ctx context.Context, conn *imapconn.Conn, f *folderState, fresh, full bool) (more bool, err error) {
	if err := o.prepare(ctx, conn, f, fresh); err != nil {
		return false, err
	}
	origin := event.OriginNew
	if f.resetting {
		origin = event.OriginResync
		if err := o.matchAgain(ctx, conn, f); err != nil {
			return false, err
		}
	}
	if f == o.inbox && !full {
		conn.QueueIdle() // the server can push again while the event is made
	}
	l := &look{owner: o, conn: conn, folder: f, fresh: fresh, arrivals: make(map[imap.UID]*imapconn.FetchMessage), returned: make(map[imap.UID]event.Data)}
	if err := l.run(ctx, full); err != nil {
		return false, err
	}
	told, err := o.tellChanges(ctx, l, origin)
	f.backlog = l.more
	if err == nil && full && !l.more {
		f.recheck = false
	}
	// A server that has more and more mail and never gives any is not asked on.
	return l.more && told > 0, err
}

// prepare makes what is known of a folder comparable with what the server has.
func (o *owner) prepare(ctx context.Context, conn *imapconn.Conn, f *folderState, fresh bool) error {
	if !f.started {
		return o.baseline(ctx, conn, f)
	}
	if err := o.checkValidity(ctx, f, conn.SelectData().UIDValidity); err != nil {
		return err
	}
	if f.uidsUnknown && !f.resetting {
		if err := o.listAgain(ctx, conn, f); err != nil {
			return err
		}
	}
	if fresh && !f.resetting {
		return o.checkUIDNext(ctx, conn, f)
	}
	return nil
}

// lookAtInbox looks at INBOX, which is open on the watching connection, until
// all is told.
func (o *owner) lookAtInbox(ctx context.Context, conn *imapconn.Conn, fresh, full bool) error {
	more, err := o.lookAtOpened(ctx, conn, o.inbox, fresh, full)
	for more && err == nil {
		err = o.bulk(ctx, func() error {
			more, err = o.lookAtOpened(ctx, conn, o.inbox, fresh, full)
			return err
		})
	}
	if err == nil {
		o.synced.set(o.inbox.Key)
	}
	return err
}

// look gathers what one look at an open folder finds.
type look struct {
	owner  *owner
	conn   *imapconn.Conn
	folder *folderState
	fresh  bool // the folder was opened for this look

	found diff.Look
	// arrivals are the new messages, for what is told of them, and envelopes
	// theirs.
	arrivals  map[imap.UID]*imapconn.FetchMessage
	envelopes map[imap.UID]*message.Envelope
	// moved says of new messages where they were before.
	moved map[imap.UID]folder.MessageID
	// returned are what those of them say that report on mail that was sent.
	returned map[imap.UID]event.Data
	// waiting is how many new messages were counted, this look's among them.
	waiting uint64
	// more says that there is new mail that this look did not take.
	more bool
}

func (l *look) run(ctx context.Context, full bool) error {
	if err := l.fetchNew(ctx); err != nil {
		return err
	}
	full = full && !l.more // what else there is can wait for the last look
	// The flags of a message outlive the window that remembers them only if
	// HighestModSeq says that they were told.
	if full || l.folder.unsettled+len(l.arrivals) > diff.WindowSize/2 {
		if err := l.fetchChanges(ctx); err != nil {
			return err
		}
	}
	if full {
		if err := l.compareUIDs(ctx); err != nil {
			return err
		}
	}
	return l.takeArrivals(ctx)
}

// takeArrivals makes what was fetched of new messages part of the look, as far
// as it is whole.
func (l *look) takeArrivals(ctx context.Context) error {
	whole := make([]*imapconn.FetchMessage, 0, len(l.arrivals))
	for uid, m := range l.arrivals {
		if isWhole(m) {
			whole = append(whole, m)
			l.see(m)
		} else {
			delete(l.arrivals, uid)
		}
	}
	slices.SortFunc(whole, func(a, b *imapconn.FetchMessage) int { return cmp.Compare(a.UID, b.UID) })
	var err error
	l.envelopes, err = account.ReadEnvelopes(ctx, l.conn, whole)
	return err
}

// isWhole tells the answer to a question for a new message from news of its
// flags, and from an answer that is only half there.
func isWhole(m *imapconn.FetchMessage) bool {
	return m.Flags != nil && (m.Envelope != nil || m.IsBroken("ENVELOPE") || m.Size > 0 || !m.InternalDate.IsZero())
}

// newAtOnce bounds the new messages whose envelopes are held in memory together.
const newAtOnce = 500

// fetchNew fetches all mail that has not been told of. The set n:* always has
// the last message, new or not (RFC 9051 section 6.4.5).
func (l *look) fetchNew(ctx context.Context) error {
	if l.conn.NumMessages() == 0 {
		return nil
	}
	set := imap.UIDSet{{Start: l.folder.told.UIDNext, Stop: 0}}
	// A server that tells a message's number before it can be fetched answers
	// with fewer than it told of; the next hint or poll looks again.
	if l.mayBeMany() {
		var err error
		if set, err = l.firstOf(ctx, set); err != nil || len(set) == 0 {
			return err
		}
	}
	return l.conn.Fetch(ctx, set, l.owner.newMailItems(), func(m *imapconn.FetchMessage) error {
		if l.isNew(m.UID) {
			l.arrive(m)
		}
		return nil
	})
}

func (l *look) mayBeMany() bool {
	told := &l.folder.told
	unseen := int64(l.conn.NumMessages()) - int64(told.Count())
	given := int64(l.conn.SelectData().UIDNext) - int64(told.UIDNext)
	return l.folder.backlog || unseen > newAtOnce || l.fresh && given > newAtOnce
}

func (l *look) isNew(uid imap.UID) bool {
	told := &l.folder.told
	return uid > 0 && uid >= told.UIDNext && !told.UIDs.Contains(uid)
}

// arrive takes an answer about a new message in. Servers send more than one for
// a message: the whole, and what became of its flags meanwhile.
func (l *look) arrive(m *imapconn.FetchMessage) {
	if before := l.arrivals[m.UID]; before != nil {
		if isWhole(m) && before.Envelope == nil {
			l.arrivals[m.UID] = m
		} else if m.Flags != nil {
			before.Flags, before.ModSeq = m.Flags, max(before.ModSeq, m.ModSeq)
		}
		return
	}
	if len(l.arrivals) >= newAtOnce {
		// More than there seemed to be. The lowest are told first.
		l.more = true
		highest := m.UID
		for uid := range l.arrivals {
			highest = max(highest, uid)
		}
		if highest == m.UID {
			return
		}
		delete(l.arrivals, highest)
	}
	l.arrivals[m.UID] = m
}

// firstOf narrows a set down to the first new messages that there are in it.
func (l *look) firstOf(ctx context.Context, set imap.UIDSet) (imap.UIDSet, error) {
	found, err := l.conn.Search(ctx, &imapconn.SearchCriteria{
		SearchCriteria: imap.SearchCriteria{UID: []imap.UIDSet{set}},
	}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	untold := diff.Subtract(found.All, l.folder.told.UIDs)
	untold = diff.Subtract(untold, diff.Below(untold, l.folder.told.UIDNext))
	l.waiting = diff.Count(untold)
	l.more = l.waiting > newAtOnce
	return first(untold, newAtOnce), nil
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
	if o.sends() {
		items.BodySection = []*imap.FetchItemBodySection{contentType}
	}
	return items
}

// fetchChanges fetches the flags that may have changed: those that the server
// says did (CONDSTORE, RFC 7162 section 3.1.4), else those of the newest
// messages. With QRESYNC the same command tells what vanished.
func (l *look) fetchChanges(ctx context.Context) error {
	told, opened := &l.folder.told, l.conn.SelectData()
	// What changed before the folder was opened is seen by what follows.
	l.found.HighestModSeq = opened.HighestModSeq
	if len(told.UIDs) == 0 && len(l.arrivals) == 0 {
		return nil
	}
	if l.folder.recheck {
		// Also those that the server does not say have changed.
		if err := l.fetchFlags(ctx, l.window(), &imapconn.FetchOptions{}); err != nil {
			return err
		}
	}
	items := &imapconn.FetchOptions{}
	set := imap.UIDSet{{Start: 1, Stop: 0}}
	// A folder may do without mod-sequences on a server that has them (RFC 7162
	// section 3.1.2.2).
	byModSeq := l.conn.Has(imap.CapCondStore) && told.HighestModSeq > 0 && opened.HighestModSeq > 0
	if byModSeq {
		if l.fresh && opened.HighestModSeq == told.HighestModSeq {
			return nil
		}
		items.ModSeq, items.ChangedSince = true, told.HighestModSeq
		items.Vanished = l.vanished
	} else {
		set = l.window()
	}
	return l.fetchFlags(ctx, set, items)
}

// fetchFlags sees the flags of messages. With items.ChangedSince all changes up
// to the highest MODSEQ of the answers are among them.
func (l *look) fetchFlags(ctx context.Context, set imap.UIDSet, items *imapconn.FetchOptions) error {
	if len(set) == 0 {
		return nil
	}
	items.Flags = true
	return l.conn.Fetch(ctx, set, items, func(m *imapconn.FetchMessage) error {
		if m.UID == 0 || m.Flags == nil {
			return nil
		}
		if items.ChangedSince > 0 {
			l.found.HighestModSeq = max(l.found.HighestModSeq, m.ModSeq)
		}
		if l.arrivals[m.UID] != nil {
			l.arrive(m)
		} else if l.folder.told.UIDs.Contains(m.UID) {
			l.see(m)
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
