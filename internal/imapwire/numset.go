package imapwire

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// A set of a million ranges takes eight megabytes and stays what it was on the
// wire: "1:4294967295" is one range. go-imap's own AddRange keeps a set sorted at
// each insertion, which is quadratic over a list that comes out of order; so
// sets are gathered here and sorted once.

// rangeList gathers the ranges of a set. Numbers that continue the range before
// them cost nothing.
type rangeList struct {
	set     imap.UIDSet
	max     int
	ordered bool // the order of the numbers says something: never sort
	dirty   bool // the set is not in ascending order, or overlaps
}

// add appends a range; false means that there are too many.
func (l *rangeList) add(start, stop uint32) bool {
	if start > stop {
		start, stop = stop, start
	}
	if stop == 0 {
		return true // no message has the number 0
	}
	r := imap.UIDRange{Start: imap.UID(max(start, 1)), Stop: imap.UID(stop)}
	if n := len(l.set); n > 0 {
		last := &l.set[n-1]
		switch {
		case last.Stop < math.MaxUint32 && r.Start == last.Stop+1:
			last.Stop = r.Stop
			return true
		case !l.ordered && r.Stop+1 == last.Start:
			last.Start = r.Start // a list in descending order
			l.dirty = l.dirty || n > 1
			return true
		case r.Start <= last.Stop:
			l.dirty = true
		}
	}
	l.set = append(l.set, r)
	if len(l.set) <= l.max {
		return true
	}
	if l.ordered || !l.dirty {
		return false
	}
	// Out of order there may be doubles, which sorting removes. To wait until
	// the set is twice its maximum keeps the cost of sorting in proportion.
	if len(l.set) > 2*l.max {
		l.normalize()
		return len(l.set) <= l.max
	}
	return true
}

// normalize sorts the ranges and merges those that touch.
func (l *rangeList) normalize() {
	if !l.dirty {
		return
	}
	slices.SortFunc(l.set, func(a, b imap.UIDRange) int { return cmp.Compare(a.Start, b.Start) })
	merged := l.set[:1]
	for _, r := range l.set[1:] {
		last := &merged[len(merged)-1]
		if last.Stop == math.MaxUint32 || r.Start <= last.Stop+1 {
			last.Stop = max(last.Stop, r.Stop)
		} else {
			merged = append(merged, r)
		}
	}
	l.set, l.dirty = merged, false
}

// finish returns the set, in ascending order unless the order says something.
func (l *rangeList) finish() (imap.UIDSet, bool) {
	if !l.ordered {
		l.normalize()
	}
	return l.set, len(l.set) <= l.max
}

func (d *Decoder) newRangeList() *rangeList { return &rangeList{max: d.limits.Ranges} }

// uidSet reads a set and sorts it.
func (d *Decoder) uidSet() (imap.UIDSet, error) { return d.readSet(d.newRangeList()) }

// orderedUIDs reads a set and keeps its order.
func (d *Decoder) orderedUIDs() (imap.UIDSet, error) {
	return d.readSet(&rangeList{max: d.limits.Ranges, ordered: true})
}

func (d *Decoder) readSet(l *rangeList) (imap.UIDSet, error) {
	if _, err := d.next(); err != nil {
		return nil, err
	}
	for {
		if err := d.readRange(l); err != nil {
			return nil, err
		}
		if more, err := d.acceptByte(','); err != nil || !more {
			if err != nil {
				return nil, err
			}
			break
		}
	}
	return d.finishSet(l)
}

func (d *Decoder) finishSet(l *rangeList) (imap.UIDSet, error) {
	set, ok := l.finish()
	if !ok {
		return nil, d.limitError("Ranges", int64(l.max))
	}
	return set, nil
}

// readRange reads "n" or "n:m". "*" is not for responses (RFC 9051 section 9,
// "*" in the ABNF of sequence-set), and nobody could tell what it covers.
func (d *Decoder) readRange(l *rangeList) error {
	start, err := d.rangeNumber()
	if err != nil {
		return err
	}
	stop := start
	if colon, err := d.acceptByte(':'); err != nil {
		return err
	} else if colon {
		if stop, err = d.rangeNumber(); err != nil {
			return err
		}
	}
	if !l.add(start, stop) {
		return d.limitError("Ranges", int64(l.max))
	}
	return nil
}

func (d *Decoder) rangeNumber() (uint32, error) {
	n, digits, err := d.digits()
	if err != nil {
		return 0, err
	}
	if digits == 0 || n > math.MaxUint32 {
		return 0, d.syntaxError("a number of 32 bits")
	}
	return uint32(n), nil
}

// acceptByte is accept where no space may come first.
func (d *Decoder) acceptByte(want byte) (bool, error) {
	c, err := d.peek()
	if err != nil || c != want {
		return false, err
	}
	d.r++
	return true, nil
}

// SeqSet turns a set that was read as one of UIDs, for want of knowledge, into
// one of sequence numbers.
func SeqSet(set imap.UIDSet) imap.SeqSet {
	if set == nil {
		return nil
	}
	seqs := make(imap.SeqSet, len(set))
	for i, r := range set {
		seqs[i] = imap.SeqRange{Start: uint32(r.Start), Stop: uint32(r.Stop)}
	}
	return seqs
}

// CountUIDs returns how many UIDs a set without "*" holds, without listing them.
func CountUIDs(set imap.UIDSet) uint64 {
	var n uint64
	for _, r := range set {
		n += uint64(r.Stop-r.Start) + 1
	}
	return n
}

// CopiedTo returns the UID that the copy of src has.
func CopiedTo(data *imap.CopyData, src imap.UID) (imap.UID, bool) {
	var index uint64
	for _, r := range data.SourceUIDs {
		if r.Start <= src && src <= r.Stop {
			return nthUID(data.DestUIDs, index+uint64(src-r.Start))
		}
		index += uint64(r.Stop-r.Start) + 1
	}
	return 0, false
}

// nthUID returns the n-th UID of a set in its own order, counted from 0.
func nthUID(set imap.UIDSet, n uint64) (imap.UID, bool) {
	for _, r := range set {
		size := uint64(r.Stop-r.Start) + 1
		if n < size {
			return r.Start + imap.UID(n), true
		}
		n -= size
	}
	return 0, false
}

// SplitUIDs divides a set into sets of at most maxBytes when written, so that a
// command line stays within what servers take: 8,000 bytes by RFC 7162 section
// 4. A range is never divided.
func SplitUIDs(set imap.UIDSet, maxBytes int) []imap.UIDSet {
	var out []imap.UIDSet
	from, size := 0, 0
	for i, r := range set {
		n := len(strconv.FormatUint(uint64(r.Start), 10)) + 1
		if r.Stop != r.Start {
			n += len(strconv.FormatUint(uint64(r.Stop), 10)) + 1
		}
		if size+n > maxBytes && i > from {
			out = append(out, set[from:i:i])
			from, size = i, 0
		}
		size += n
	}
	if from < len(set) {
		out = append(out, set[from:])
	}
	return out
}
