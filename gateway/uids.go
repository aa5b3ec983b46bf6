package gateway

import (
	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// The sets below are of ranges in ascending order, as searches give them.

func countUIDs(set imap.UIDSet) int64 { return int64(imapwire.CountUIDs(set)) }

// uidsOf lists the first n UIDs of a set of ranges.
func uidsOf(set imap.UIDSet, n int) []imap.UID {
	var list []imap.UID
	for _, r := range set {
		for uid := r.Start; len(list) < n; uid++ {
			list = append(list, uid)
			if uid == r.Stop {
				break
			}
		}
	}
	return list
}

// subtract gives what is in a and not in b, both of ranges in ascending order.
func subtract(a, b imap.UIDSet) imap.UIDSet {
	var rest imap.UIDSet
	for _, r := range a {
		for uid := r.Start; ; uid++ {
			if !b.Contains(uid) {
				rest.AddNum(uid)
			}
			if uid == r.Stop {
				break
			}
		}
	}
	return rest
}

// splitFirst divides a set into its first n UIDs and the rest.
func splitFirst(set imap.UIDSet, n uint32) (first, rest imap.UIDSet) {
	for i, r := range set {
		size := uint32(r.Stop-r.Start) + 1
		if size <= n {
			n -= size
			continue
		}
		first = append(first, set[:i]...)
		if n > 0 {
			first = append(first, imap.UIDRange{Start: r.Start, Stop: r.Start + imap.UID(n) - 1})
		}
		rest = append(rest, imap.UIDRange{Start: r.Start + imap.UID(n), Stop: r.Stop})
		return first, append(rest, set[i+1:]...)
	}
	return set, nil
}

// splitLast divides a set into its last n UIDs and those before them.
func splitLast(set imap.UIDSet, n uint32) (rest, last imap.UIDSet) {
	count := imapwire.CountUIDs(set)
	if count <= uint64(n) {
		return nil, set
	}
	return splitFirst(set, uint32(count-uint64(n)))
}
