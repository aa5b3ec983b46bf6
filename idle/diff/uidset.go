package diff

import (
	"iter"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// The functions below treat an imap.UIDSet as sorted, disjoint ranges without
// "*", as its own Add methods keep it, and cost time and memory by the number
// of ranges, never by the number of UIDs.

// Union returns the UIDs that are in a or in b.
func Union(a, b imap.UIDSet) imap.UIDSet {
	union := make(imap.UIDSet, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		var next imap.UIDRange
		if len(b) == 0 || len(a) > 0 && a[0].Start <= b[0].Start {
			next, a = a[0], a[1:]
		} else {
			next, b = b[0], b[1:]
		}
		union = appendRange(union, next)
	}
	return union
}

// appendRange adds a range that starts no earlier than the set's last one.
func appendRange(set imap.UIDSet, next imap.UIDRange) imap.UIDSet {
	if n := len(set); n > 0 && uint64(next.Start) <= uint64(set[n-1].Stop)+1 {
		set[n-1].Stop = max(set[n-1].Stop, next.Stop)
		return set
	}
	return append(set, next)
}

// Intersect returns the UIDs that are in both a and b.
func Intersect(a, b imap.UIDSet) imap.UIDSet {
	var both imap.UIDSet
	for len(a) > 0 && len(b) > 0 {
		start, stop := max(a[0].Start, b[0].Start), min(a[0].Stop, b[0].Stop)
		if start <= stop {
			both = append(both, imap.UIDRange{Start: start, Stop: stop})
		}
		if a[0].Stop < b[0].Stop {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

// Subtract returns the UIDs that are in a and not in b.
func Subtract(a, b imap.UIDSet) imap.UIDSet {
	rest := make(imap.UIDSet, 0, len(a))
	for _, keep := range a {
		for len(b) > 0 && b[0].Stop < keep.Start {
			b = b[1:]
		}
		start, exhausted := keep.Start, false
		for _, hole := range b {
			if hole.Start > keep.Stop {
				break
			}
			if hole.Start > start {
				rest = append(rest, imap.UIDRange{Start: start, Stop: hole.Start - 1})
			}
			if hole.Stop >= keep.Stop {
				exhausted = true
				break
			}
			start = hole.Stop + 1
		}
		if !exhausted {
			rest = append(rest, imap.UIDRange{Start: start, Stop: keep.Stop})
		}
	}
	return rest
}

// remove takes one UID out of the set in place.
func remove(set imap.UIDSet, uid imap.UID) imap.UIDSet {
	i, ok := slices.BinarySearchFunc(set, uid, func(r imap.UIDRange, uid imap.UID) int {
		switch {
		case r.Stop < uid:
			return -1
		case r.Start > uid:
			return 1
		}
		return 0
	})
	if !ok {
		return set
	}
	switch r := set[i]; {
	case r.Start == r.Stop:
		return slices.Delete(set, i, i+1)
	case r.Start == uid:
		set[i].Start++
	case r.Stop == uid:
		set[i].Stop--
	default:
		set[i].Stop = uid - 1
		return slices.Insert(set, i+1, imap.UIDRange{Start: uid + 1, Stop: r.Stop})
	}
	return set
}

// Below returns the UIDs of set that are below end.
func Below(set imap.UIDSet, end imap.UID) imap.UIDSet {
	if end <= 1 {
		return nil
	}
	return Intersect(set, imap.UIDSet{{Start: 1, Stop: end - 1}})
}

// Count returns the number of UIDs in the set.
func Count(set imap.UIDSet) uint64 {
	var count uint64
	for _, r := range set {
		count += uint64(r.Stop) - uint64(r.Start) + 1
	}
	return count
}

// All yields the UIDs of the set in ascending order.
func All(set imap.UIDSet) iter.Seq[imap.UID] {
	return func(yield func(imap.UID) bool) {
		for _, r := range set {
			for uid := uint64(r.Start); uid <= uint64(r.Stop); uid++ {
				if !yield(imap.UID(uid)) {
					return
				}
			}
		}
	}
}
