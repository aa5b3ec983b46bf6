// Package diff decides what has changed in a folder. It compares what the
// event log has told about the folder, a [Mailbox], with what one look at the
// server found, a [Look], and names the [Change] values between the two. It is
// pure: no network, no clock, no state of its own.
package diff

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// Mailbox is what has been told about one folder, the base of every
// comparison. Folding the folder's events over an earlier Mailbox with Apply
// gives the same value again, which is how a restarted owner learns where it
// stood.
type Mailbox struct {
	// UIDValidity is the validity all UIDs here belong to (RFC 9051 section
	// 2.3.1.1).
	UIDValidity uint32
	// UIDNext is above every UID that has been told of.
	UIDNext imap.UID
	// HighestModSeq says that flag changes up to it have been told (RFC 7162).
	// It is 0 on servers without CONDSTORE.
	HighestModSeq uint64
	// UIDs are the messages known to be there: sorted, disjoint ranges. Those
	// above UIDNext are none to tell of, because they were known by other
	// numbers or are old.
	UIDs imap.UIDSet
	// Flags are those last told of the newest messages.
	Flags Window
}

// Look is what one look at a folder found. Everything in it belongs to the
// UIDVALIDITY of the Mailbox it is compared with.
type Look struct {
	// Messages are the messages whose flags were seen: all that are at or
	// above the base's UIDNext, and any below it that the server reported as
	// changed or that were asked for. The order does not matter.
	Messages []Message
	// Vanished are UIDs that the server said are gone. UIDs that were never
	// told of may be among them.
	Vanished imap.UIDSet
	// Present are all UIDs that are there, when HasPresent says that they were
	// listed; what is known and not among them is gone.
	Present    imap.UIDSet
	HasPresent bool
	// Late are UIDs that are there, were not told of, and are below others that
	// were: the server did not give them when they were new, or took back that
	// they were gone. Those of them that are Missing were given up.
	Late, Missing imap.UIDSet
	// Held are messages that are gone and of which that is not to be told yet:
	// where a server proves what a message is, it may turn up in another folder.
	Held imap.UIDSet
	// HighestModSeq was the folder's before the messages were fetched, so that
	// a change during the fetch is found by the next look. It is 0 when
	// unknown.
	HighestModSeq uint64
}

// Message is a message's flags as a look saw them.
type Message struct {
	UID    imap.UID
	Flags  Flags
	ModSeq uint64 // 0 when unknown
}

// Kind says what happened to a message.
type Kind int

// The kinds of change.
const (
	Created Kind = iota + 1
	Updated
	Deleted
	// Missing is a message that is counted and cannot be read.
	Missing
)

// Change is one thing that happened to one message.
type Change struct {
	Kind Kind
	UID  imap.UID
	// Late says, for Created, that a higher UID was told of before.
	Late bool
	// Before are the flags last told of, for Updated; HasBefore says whether
	// they are known.
	Before    Flags
	HasBefore bool
	// After are the flags now, for Created and Updated.
	After Flags
	// ModSeq is the message's, for Updated; 0 when unknown.
	ModSeq uint64
}

// Compare names what happened between base and look, in the order in which it
// is to be told: new messages by ascending UID, so that having told of a UID
// means having told of all below it; changed flags by ascending MODSEQ, for
// the same reason; then deletions by ascending UID. Late messages and missing
// ones are exceptions, whose names say so.
func Compare(base *Mailbox, look *Look) []Change {
	created, updated := compareMessages(base, look)
	changes := slices.Concat(created, compareMissing(base, look), updated, compareDeleted(base, look))
	return slices.Clip(changes)
}

func compareMessages(base *Mailbox, look *Look) (created, updated []Change) {
	for _, message := range newestReport(look.Messages) {
		if !base.UIDs.Contains(message.UID) {
			late := look.Late.Contains(message.UID)
			if message.UID >= base.UIDNext || late { // else a stray answer
				created = append(created, Change{Kind: Created, UID: message.UID, Late: late, After: message.Flags})
			}
			continue
		}
		before, known := base.Flags.Get(message.UID)
		if known && before == message.Flags {
			continue
		}
		updated = append(updated, Change{
			Kind: Updated, UID: message.UID,
			Before: before, HasBefore: known, After: message.Flags, ModSeq: message.ModSeq,
		})
	}
	slices.SortStableFunc(updated, func(a, b Change) int { return cmp.Compare(a.ModSeq, b.ModSeq) })
	return created, updated
}

// newestReport sorts by UID and keeps the last report of each: a server may
// send more than one FETCH response for a message in one answer.
func newestReport(messages []Message) []Message {
	sorted := slices.Clone(messages)
	slices.SortStableFunc(sorted, func(a, b Message) int { return cmp.Compare(a.UID, b.UID) })
	kept := sorted[:0]
	for _, message := range sorted {
		if message.UID == 0 {
			continue
		}
		if n := len(kept); n > 0 && kept[n-1].UID == message.UID {
			kept[n-1] = message
			continue
		}
		kept = append(kept, message)
	}
	return kept
}

func compareMissing(base *Mailbox, look *Look) []Change {
	var missing []Change
	for uid := range All(Subtract(look.Missing, base.UIDs)) {
		missing = append(missing, Change{Kind: Missing, UID: uid})
	}
	return missing
}

// Gone are the messages that were told of and are there no more.
func Gone(base *Mailbox, look *Look) imap.UIDSet {
	gone := Intersect(base.UIDs, look.Vanished)
	if look.HasPresent {
		missing := Subtract(base.UIDs, look.Present)
		gone = Union(gone, missing)
	}
	return gone
}

func compareDeleted(base *Mailbox, look *Look) []Change {
	gone := Subtract(Gone(base, look), look.Held)
	deleted := make([]Change, 0, Count(gone))
	for uid := range All(gone) {
		deleted = append(deleted, Change{Kind: Deleted, UID: uid})
	}
	return deleted
}

// Apply moves the Mailbox past a change that has been told.
func (m *Mailbox) Apply(change Change) {
	switch change.Kind {
	case Created:
		m.UIDs.AddNum(change.UID)
		m.UIDNext = max(m.UIDNext, After(change.UID))
		m.Flags.Set(change.UID, change.After)
	case Missing:
		m.UIDs.AddNum(change.UID)
	case Updated:
		m.HighestModSeq = max(m.HighestModSeq, change.ModSeq)
		m.Flags.Set(change.UID, change.After)
	case Deleted:
		m.UIDs = remove(m.UIDs, change.UID)
		m.Flags.Delete(change.UID)
	}
}

// Settle ends a look all of whose changes have been applied: what the look saw
// of flag changes is now told up to its HighestModSeq, and flags that were
// seen for the first time are remembered.
func (m *Mailbox) Settle(look *Look) {
	m.HighestModSeq = max(m.HighestModSeq, look.HighestModSeq)
	for _, message := range look.Messages {
		if m.UIDs.Contains(message.UID) {
			m.Flags.Set(message.UID, message.Flags)
		}
	}
}

// After is the UID after one. The highest of all has none, and gives itself.
func After(uid imap.UID) imap.UID { return max(uid, uid+1) }

// Count returns the number of messages known to be there.
func (m *Mailbox) Count() uint64 { return Count(m.UIDs) }
