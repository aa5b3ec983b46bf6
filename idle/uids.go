package idle

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/imapconn"
)

// compareUIDs lists all UIDs if the number of messages says that some have gone
// which VANISHED did not name, or are there and were never told of. Equal
// numbers mean neither. HIGHESTMODSEQ proves nothing here, since without
// QRESYNC an EXPUNGE need not raise it (RFC 7162 section 3.1.2.1).
func (l *look) compareUIDs(ctx context.Context) error {
	left := diff.Subtract(diff.Subtract(l.folder.told.UIDs, l.found.Vanished), l.folder.holding())
	if diff.Count(left)+uint64(len(l.arrivals)) == uint64(l.conn.NumMessages()) && !l.folder.recheck {
		l.folder.late = nil
		return nil
	}
	present, complete, err := allUIDs(ctx, l.conn)
	if err != nil || !complete {
		// What an incomplete list lacks may be there. The next look tells.
		return err
	}
	l.found.Present, l.found.HasPresent = present, true
	return l.fetchLate(ctx, present)
}

// lateTries is how many looks a message that is listed may go on not to be
// fetched, once mail behind it was: what is counted on one server of a cluster
// may take a while to come to another.
const lateTries = 3

// fetchLate fetches mail that is there, was not told of, and is not new by its
// UID.
func (l *look) fetchLate(ctx context.Context, present imap.UIDSet) error {
	end := l.folder.told.UIDNext
	known := l.folder.told.UIDs
	var arrived imap.UIDSet
	for uid := range l.arrivals {
		end = max(end, diff.After(uid))
		arrived.AddNum(uid)
	}
	late := diff.Subtract(diff.Subtract(diff.Below(present, end), known), arrived)
	late = first(late, newAtOnce)
	if len(late) == 0 {
		l.folder.late = nil
		return nil
	}
	err := l.conn.Fetch(ctx, late, l.owner.newMailItems(), func(m *imapconn.FetchMessage) error {
		if late.Contains(m.UID) {
			l.arrive(m)
		}
		return nil
	})
	l.found.Late = late
	tries := make(map[imap.UID]int)
	for uid := range diff.All(late) {
		if m := l.arrivals[uid]; m != nil && isWhole(m) {
			continue
		}
		if tries[uid] = l.folder.late[uid] + 1; tries[uid] >= lateTries {
			l.found.Missing.AddNum(uid)
			delete(tries, uid)
		}
	}
	l.folder.late = tries
	return err
}

// allUIDs lists the UIDs of the open folder, and says whether those are all
// according to the number of its messages. SEARCH is known to forget some on
// some servers; FETCH is asked then.
func allUIDs(ctx context.Context, conn *imapconn.Conn) (uids imap.UIDSet, complete bool, err error) {
	if conn.NumMessages() == 0 {
		return nil, true, nil
	}
	found, err := conn.Search(ctx, &imapconn.SearchCriteria{}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, false, err
	}
	if diff.Count(found.All) == uint64(conn.NumMessages()) {
		return found.All, true, nil
	}
	items := &imapconn.FetchOptions{}
	items.UID = true
	err = conn.Fetch(ctx, imap.UIDSet{{Start: 1, Stop: 0}}, items, func(m *imapconn.FetchMessage) error {
		if m.UID > 0 {
			uids.AddNum(m.UID)
		}
		return nil
	})
	return uids, diff.Count(uids) == uint64(conn.NumMessages()), err
}

// first returns the n lowest UIDs of a set.
func first(set imap.UIDSet, n int) imap.UIDSet {
	var lowest imap.UIDSet
	for uid := range diff.All(set) {
		if n--; n < 0 {
			break
		}
		lowest.AddNum(uid)
	}
	return lowest
}

// last returns the n highest UIDs of a set.
func last(set imap.UIDSet, n uint64) imap.UIDSet {
	for i := len(set) - 1; i >= 0; i-- {
		size := uint64(set[i].Stop) - uint64(set[i].Start) + 1
		if size >= n {
			rest := append(imap.UIDSet(nil), set[i:]...)
			rest[0].Start = rest[0].Stop - imap.UID(n) + 1
			return rest
		}
		n -= size
	}
	return set
}

// end is the UID after the highest of a set.
func end(set imap.UIDSet) imap.UID {
	if len(set) == 0 {
		return 1
	}
	return diff.After(set[len(set)-1].Stop)
}
