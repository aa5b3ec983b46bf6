package idle

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// folderState is what an owner knows about a folder.
type folderState struct {
	folder.Folder
	// told is what the event log knows of the folder.
	told diff.Mailbox
	// started says that told holds: it was taken from the server or the log.
	// Until then the folder's mail is not compared but counted as old.
	started bool
	// uidsUnknown says that told.UIDs have to be listed anew, because a snapshot
	// had no room for them or was never made.
	uidsUnknown bool
	// resetting says that the folder's new UIDVALIDITY was announced, and what
	// is in it not yet compared with identities.
	resetting bool
	// identities are what the newest messages are. While resetting their UIDs
	// are those before the reset.
	identities identities
	// held are messages that are gone and not told of as deleted yet, because
	// they may turn up in another folder.
	held []heldBatch
	// backfill is above the messages that were there at first and are yet to be
	// told of, 0 when none are; unfilled is their number across a reset.
	backfill imap.UID
	unfilled uint64
	// left says that the folder was excluded from watching, so that what is known
	// of it no longer holds.
	left bool
	// recheck says that the next look compares all messages, whatever their
	// number says.
	recheck bool
	// overflowing says that more has changed than is told at once, and that this
	// was announced.
	overflowing bool
	// reused is above the UIDs that the server may give to other messages, 0
	// unless it was seen to.
	reused imap.UID
	// covered is the number of the account's event up to which the snapshot
	// that was loaded is good.
	covered uint64
	// renamedTo is the path of the last change of name that was replayed.
	renamedTo []string
	// listed is what STATUS said last, and mark what it said before the last
	// look: as long as they are the same there is nothing to look for.
	listed, mark mark
	// asked is when STATUS was had last, and rhythm how often it says something
	// new.
	asked  time.Time
	rhythm rhythm
	// missed counts the changes in a row that the server was to tell of and did
	// not.
	missed int
	// dirty says that told has moved since the last snapshot, whose revision is
	// kept.
	dirty    bool
	revision uint64
	parts    bool
	// unsettled counts the messages that were told of and have not been covered
	// by told.HighestModSeq yet.
	unsettled int
	// backlog says that there was more new mail than one look takes.
	backlog bool
	// late counts how often mail was listed that could not be fetched.
	late map[imap.UID]int
	// resets counts the changes of UIDVALIDITY in a row.
	resets int
	// failures counts SELECTs refused in a row; parked is when to try again.
	failures int
	parked   time.Time
	excluded bool
}

// mark is what shows that a folder may have changed, without opening it.
type mark struct {
	validity         uint32
	next             imap.UID
	messages, unseen uint32
	modSeq           uint64
}

func markOf(status *imapconn.StatusData) mark {
	m := mark{validity: status.UIDValidity, next: status.UIDNext, modSeq: status.HighestModSeq}
	if status.NumMessages != nil {
		m.messages = *status.NumMessages
	}
	if status.NumUnseen != nil {
		m.unseen = *status.NumUnseen
	}
	return m
}

// lagging reports whether STATUS tells of mail that does not show where the
// folder is open.
func (f *folderState) lagging() bool {
	return f.listed != f.mark && f.listed.validity == f.told.UIDValidity && f.listed.next > f.told.UIDNext
}

// statusItems are what a mark is made of.
func statusItems() *imapconn.StatusOptions {
	items := &imapconn.StatusOptions{}
	items.NumMessages, items.UIDNext, items.UIDValidity, items.NumUnseen, items.HighestModSeq = true, true, true, true, true
	return items
}

// checkpoint is the folder's position, for the header of an event.
func (f *folderState) checkpoint() *event.Checkpoint {
	c := &event.Checkpoint{Folder: f.Key, UIDValidity: f.told.UIDValidity, ModSeq: f.told.HighestModSeq}
	if f.told.UIDNext > 0 {
		c.UID = f.told.UIDNext - 1
	}
	return c
}

// messageID is the placement of one of the folder's messages.
func (f *folderState) messageID(uid imap.UID) folder.MessageID {
	return folder.MessageID{Folder: f.Key, UIDValidity: f.told.UIDValidity, UID: uid}
}

// snapshot is the folder's state as of a position in the log.
func (f *folderState) snapshot(sequence, number uint64) *folder.Snapshot {
	s := &folder.Snapshot{
		Sequence: sequence, Number: number,
		UIDValidity: f.told.UIDValidity, UIDNext: f.told.UIDNext, HighestModSeq: f.told.HighestModSeq,
		UIDs: f.told.UIDs, UIDsUnknown: f.uidsUnknown, Identities: f.identities.list(),
		Excluded: f.left, Overflowing: f.overflowing, Backfill: f.backfill, Reused: f.reused,
		Revision: f.revision, Parts: f.parts,
	}
	f.told.Flags.Each(func(uid imap.UID, flags diff.Flags) {
		s.Flags = append(s.Flags, folder.MessageFlags{UID: uid, Flags: string(flags)})
	})
	return s
}

// restore takes a snapshot in.
func (f *folderState) restore(s *folder.Snapshot) {
	f.told = diff.Mailbox{UIDValidity: s.UIDValidity, UIDNext: s.UIDNext, HighestModSeq: s.HighestModSeq, UIDs: s.UIDs}
	for _, m := range s.Flags {
		f.told.Flags.Set(m.UID, diff.Flags(m.Flags))
	}
	for _, m := range s.Identities {
		f.identities.set(m.UID, m.EmailID)
	}
	f.started, f.left, f.uidsUnknown = !s.Excluded, s.Excluded, s.UIDsUnknown
	f.overflowing, f.backfill, f.reused = s.Overflowing, s.Backfill, s.Reused
	f.revision, f.parts = s.Revision, s.Parts
}

// apply moves the folder past one of its events.
func (f *folderState) apply(data any, checkpoint *event.Checkpoint, uid imap.UID) {
	switch data := data.(type) {
	case *event.MessageCreated:
		if data.Origin == event.OriginBackfill {
			f.filled(uid, flagsOf(data.Flags), data.EmailID)
			break
		}
		f.told.Apply(diff.Change{Kind: diff.Created, UID: uid, After: flagsOf(data.Flags)})
		f.unsettled++
		f.identities.set(uid, data.EmailID)
	case *event.MessageMoved:
		f.told.Apply(diff.Change{Kind: diff.Created, UID: uid, After: flagsOf(data.Flags)})
		f.unsettled++
		f.identities.set(uid, data.EmailID)
	case *event.MessageMissing:
		f.told.Apply(diff.Change{Kind: diff.Missing, UID: uid})
	case *event.MessageUpdated:
		f.told.Apply(diff.Change{Kind: diff.Updated, UID: uid, After: flagsOf(data.Flags.After), ModSeq: data.ModSeq})
	case *event.MessageDeleted:
		f.remove(uid)
	case *event.FolderCreated:
		f.begin(checkpoint.UIDValidity)
	case *event.FolderOverflow:
		f.overflowing = true
	case *event.FolderReset:
		f.reset(data.UIDValidity)
	}
	f.dirty = true
}

// remove moves the folder past the end of one of its messages.
func (f *folderState) remove(uid imap.UID) {
	f.told.Apply(diff.Change{Kind: diff.Deleted, UID: uid})
	f.identities.forget(uid)
	f.dirty = true
}

// reset voids all numbers of the folder's messages. What they are is kept, to
// know them again.
func (f *folderState) reset(validity uint32) {
	f.unfilled = diff.Count(diff.Below(f.told.UIDs, f.backfill))
	f.backfill, f.reused = 0, 0
	f.told = diff.Mailbox{UIDValidity: validity}
	f.held = nil
	f.resetting, f.dirty = true, true
}

// leave drops what is known of a folder that is not watched any more. When it is
// watched again, all that is in it then is old.
func (f *folderState) leave() {
	f.told = diff.Mailbox{UIDValidity: f.told.UIDValidity, UIDNext: f.told.UIDNext}
	f.identities, f.held, f.backfill, f.unfilled, f.reused = identities{}, nil, 0, 0, 0
	f.started, f.left, f.dirty = false, true, true
	f.resetting, f.uidsUnknown, f.backlog, f.overflowing, f.recheck = false, false, false, false, false
}

// begin makes the folder one of whose messages none has been announced.
func (f *folderState) begin(validity uint32) {
	f.told = diff.Mailbox{UIDValidity: validity, UIDNext: 1}
	f.started = true
}

func flagsOf(list []string) diff.Flags {
	flags := make([]imap.Flag, len(list))
	for i, flag := range list {
		flags[i] = imap.Flag(flag)
	}
	return diff.MakeFlags(flags)
}
