package idle

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
)

// maxResets is how many times in a row a folder may be opened with another
// UIDVALIDITY. A server that makes one up each time has no names for messages.
const maxResets = 5

// unsteadyError reports a folder whose UIDVALIDITY does not stay.
type unsteadyError struct{ path []string }

func (e *unsteadyError) Error() string {
	return fmt.Sprintf("the server gives folder %q another UIDVALIDITY each time it is opened, so its messages cannot be named", e.path)
}

// checkValidity compares the UIDVALIDITY of a folder that was opened with what
// it was before. 0 means that the server did not tell.
func (o *owner) checkValidity(ctx context.Context, f *folderState, validity uint32) error {
	told := &f.told
	switch {
	case validity == 0 || validity == told.UIDValidity:
		f.resets = 0
		return nil
	case told.UIDValidity == 0 && told.UIDNext <= 1:
		// A new folder of whose state nothing was to be had. No message has been
		// told of, so no name changes.
		told.UIDValidity, f.dirty = validity, true
		return nil
	case f.resets >= maxResets:
		return &unsteadyError{f.Path()}
	}
	f.resets++
	return o.reset(ctx, f, validity)
}

// reset announces that the server renumbered a folder.
func (o *owner) reset(ctx context.Context, f *folderState, validity uint32) error {
	previous := f.told.UIDValidity
	f.reset(validity)
	return o.tellOf(ctx, f, &event.FolderReset{
		FolderRef:           event.FolderAt(o.id(), f.Key, f.Path()),
		PreviousUIDValidity: previous, UIDValidity: validity,
	})
}

// matchAgain finds the mail that was told of under a folder's former numbers,
// by what it is, and counts it as told. What is new among the newest messages
// is then told of as found again; what is older than all that is remembered was
// told of, or was there before.
func (o *owner) matchAgain(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	uids, _, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, m := range f.identities.list() {
		known[m.EmailID] = true
	}
	f.identities = identities{}
	told := diff.Mailbox{UIDValidity: f.told.UIDValidity, UIDNext: end(uids), HighestModSeq: conn.SelectData().HighestModSeq}
	var unknown imap.UIDSet
	err = o.fetchIdentities(ctx, conn, last(uids, diff.WindowSize), func(m *imapconn.FetchMessage, emailID string) {
		if known[emailID] {
			told.Flags.Set(m.UID, diff.MakeFlags(m.Flags))
			f.identities.set(m.UID, emailID)
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
	if f.unfilled > 0 {
		f.backfill, f.unfilled = end(first(told.UIDs, int(f.unfilled))), 0
		err := o.tellGap(ctx, f, "The server renumbered the folder while the mail that was there at first was told of. "+
			"Some of it may be told of again, or not at all.")
		if err != nil {
			return err
		}
	}
	return o.save(ctx)
}

// listAgain lists the UIDs of a folder whose list was lost. What was deleted
// meanwhile cannot be told any more.
func (o *owner) listAgain(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	uids, _, err := allUIDs(ctx, conn)
	if err != nil {
		return err
	}
	f.told.UIDs = diff.Below(uids, f.told.UIDNext)
	f.uidsUnknown, f.dirty = false, true
	return o.tellGap(ctx, f, "The folder's list of messages had to be made anew; deletions since it was last watched are not known.")
}

// checkUIDNext notices a server whose UIDNEXT goes back. It must not (RFC 9051
// section 2.3.1.1), and gives UIDs again that were others'. What is there no more
// is told of; what comes under a UID that was told of before is new all the same.
func (o *owner) checkUIDNext(ctx context.Context, conn *imapconn.Conn, f *folderState) error {
	next := conn.SelectData().UIDNext
	if next == 0 || next >= f.told.UIDNext {
		return nil
	}
	// Some tell a UIDNEXT that has nothing to do with their messages.
	highest := imap.UID(0)
	items := &imapconn.FetchOptions{}
	items.UID = true
	if conn.NumMessages() > 0 {
		err := conn.Fetch(ctx, imap.UIDSet{{Start: next, Stop: 0}}, items, func(m *imapconn.FetchMessage) error {
			highest = max(highest, m.UID)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if highest >= next {
		return nil
	}
	first := f.reused == 0
	gone := diff.Subtract(f.told.UIDs, diff.Below(f.told.UIDs, next))
	l := &look{owner: o, conn: conn, folder: f, found: diff.Look{Vanished: gone}}
	if _, err := o.tellAll(ctx, l, event.OriginNew); err != nil {
		return err
	}
	f.reused, f.told.UIDNext, f.dirty = max(f.reused, f.told.UIDNext), next, true
	if !first {
		return nil
	}
	err := o.tellGap(ctx, f, fmt.Sprintf("The server's next UID went back from %d to %d, so it may give UIDs again that other messages had. "+
		"A message may have come and gone unseen.", f.reused, next))
	if err != nil {
		return err
	}
	return o.save(ctx)
}

// tellGap announces that changes in a folder may have been missed.
func (o *owner) tellGap(ctx context.Context, f *folderState, reason string) error {
	return o.tellOf(ctx, f, &event.AccountGap{
		AccountRef: event.AccountAt(o.id()), Folder: event.FolderName(o.id(), f.Key), Reason: reason,
	})
}
