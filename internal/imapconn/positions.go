package imapconn

import (
	"slices"

	"github.com/emersion/go-imap/v2"
)

// maxPositions bounds what is remembered of a mailbox.
const maxPositions = 8

// position is a fact about a mailbox: how many messages lie below a UID. Where
// before is the UID of a message, below is its sequence number less one.
//
// Unlike a sequence number such a fact outlives the message: an EXPUNGE below
// counts it down, one above does nothing, and new messages come at the end.
type position struct {
	before imap.UID
	below  uint32
}

// positions has the facts learned last about the selected mailbox, so that the
// next page can be asked for at once. They hold in the client's view of the
// mailbox, which changes only by EXPUNGE and VANISHED (RFC 9051 section 7.5.1).
type positions struct {
	known []position
	// tracked are the messages of the page in hand, whose sequence numbers are
	// to be kept right while the command goes on.
	tracked []*FetchMessage
	// held are likewise the answers that a FETCH holds back, see settle.
	held []*FetchMessage
}

// learn remembers a fact in place of the oldest one.
func (p *positions) learn(before imap.UID, below uint32) {
	p.known = slices.DeleteFunc(p.known, func(x position) bool { return x.before == before })
	if len(p.known) >= maxPositions {
		p.known = p.known[1:]
	}
	p.known = append(p.known, position{before, below})
}

// below returns how many messages lie below a UID, if that is known.
func (p *positions) below(before imap.UID) (uint32, bool) {
	for _, x := range p.known {
		if x.before == before {
			return x.below, true
		}
	}
	return 0, false
}

// newest returns a UID from which on there are at least n of the mailbox's
// messages, and not many more.
func (p *positions) newest(messages uint32, n int) (imap.UID, bool) {
	var best imap.UID
	for _, x := range p.known {
		if x.below > messages {
			continue
		}
		if above := int64(messages - x.below); above >= int64(n) && above <= int64(n)+maxSurplus && x.before > best {
			best = x.before
		}
	}
	return best, best > 0
}

// maxSurplus is how many messages a page may fetch in vain to save a round trip.
const maxSurplus = 20

func (p *positions) forget() { p.known = nil }

func (p *positions) expunged(seq uint32) {
	for i := range p.known {
		if seq <= p.known[i].below {
			p.known[i].below--
		}
	}
	for _, m := range slices.Concat(p.tracked, p.held) {
		switch {
		case m.SeqNum > seq:
			m.SeqNum--
		case m.SeqNum == seq:
			m.SeqNum = 0
		}
	}
}

func (p *positions) vanished(uids imap.UIDSet) {
	for i := range p.known {
		x := &p.known[i]
		x.below -= min(x.below, countBelow(uids, x.before))
	}
	for _, m := range slices.Concat(p.tracked, p.held) {
		if m.SeqNum == 0 {
			continue
		}
		if uids.Contains(m.UID) {
			m.SeqNum = 0
		} else {
			m.SeqNum -= min(m.SeqNum-1, countBelow(uids, m.UID))
		}
	}
}

// countBelow returns how many UIDs of the set are below a UID.
func countBelow(uids imap.UIDSet, before imap.UID) uint32 {
	var n uint32
	for _, r := range uids {
		if r.Start >= before {
			break // sets of the decoder are in ascending order
		}
		n += uint32(min(r.Stop, before-1)-r.Start) + 1
	}
	return n
}
