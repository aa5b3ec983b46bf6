package idle

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
)

// The one event of a move takes the message out of one folder and puts it into
// the other, each unless its snapshot knows already.
func TestReplayOfAMove(t *testing.T) {
	t.Parallel()
	inbox, archive := folder.Key{1}, folder.Key{2}
	before := folder.MessageID{Folder: inbox, UIDValidity: 7, UID: 3}
	after := folder.MessageID{Folder: archive, UIDValidity: 9, UID: 20}
	moved := event.New("ann", 4, time.Now(), &event.MessageMoved{
		MessageRef: event.MessageAt("ann", after, "M3", ""), PreviousMessage: event.MessageName("ann", before), Flags: []string{`\Seen`},
	})
	moved.Number = 5
	body, err := moved.Encode()
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := &event.Checkpoint{Folder: archive, UIDValidity: 9, UID: 20}
	for _, test := range []struct {
		name                         string
		inboxCovered, archiveCovered uint64
		inboxUIDs, archiveUIDs       string
	}{
		{"neither knows", 4, 4, "1:2,4", "1:2,20"},
		{"only the source knows", 5, 4, "1:4", "1:2,20"},
		{"only the target knows", 4, 5, "1:2,4", "1:2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := &owner{account: &account.Account{ID: "ann"}, folders: map[folder.Key]*folderState{}}
			add := func(key folder.Key, validity uint32, last imap.UID, covered uint64) *folderState {
				f := &folderState{Folder: folder.Folder{Key: key}, started: true, covered: covered}
				f.told = diff.Mailbox{UIDValidity: validity, UIDNext: last + 1, UIDs: imap.UIDSet{{Start: 1, Stop: last}}}
				o.folders[key] = f
				return f
			}
			source, target := add(inbox, 7, 4, test.inboxCovered), add(archive, 9, 2, test.archiveCovered)
			if err := o.replay(&eventlog.Entry{ID: moved.ID, Account: "ann", Type: moved.Type, Number: 5, Body: body, Checkpoint: checkpoint}); err != nil {
				t.Fatal(err)
			}
			if got := source.told.UIDs.String(); got != test.inboxUIDs {
				t.Errorf("the source has %s, want %s", got, test.inboxUIDs)
			}
			if got := target.told.UIDs.String(); got != test.archiveUIDs {
				t.Errorf("the target has %s, want %s", got, test.archiveUIDs)
			}
			if flags, ok := target.told.Flags.Get(20); test.archiveCovered < 5 && (!ok || flags != `\Seen`) {
				t.Errorf("the flags are %q, %v", flags, ok)
			}
		})
	}
}

// Each event of old mail says how far the backfill has come.
func TestReplayOfABackfill(t *testing.T) {
	t.Parallel()
	inbox := folder.Key{1}
	at := folder.MessageID{Folder: inbox, UIDValidity: 7, UID: 6}
	old := event.New("ann", 4, time.Now(), &event.MessageCreated{
		MessageRef: event.MessageAt("ann", at, "M6", ""), Origin: event.OriginBackfill, Flags: []string{`\Seen`},
	})
	old.Number = 5
	body, err := old.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f := &folderState{Folder: folder.Folder{Key: inbox}, started: true, covered: 4, backfill: 9}
	f.told = diff.Mailbox{UIDValidity: 7, UIDNext: 9, UIDs: imap.UIDSet{{Start: 1, Stop: 8}}}
	o := &owner{account: &account.Account{ID: "ann"}, folders: map[folder.Key]*folderState{inbox: f}}
	entry := &eventlog.Entry{ID: old.ID, Account: "ann", Type: old.Type, Number: 5, Body: body, Checkpoint: f.checkpoint()}
	if err := o.replay(entry); err != nil {
		t.Fatal(err)
	}
	if f.backfill != 6 || f.told.UIDNext != 9 || f.told.UIDs.String() != "1:8" || f.unsettled != 0 || f.identities.get(6) != "M6" {
		t.Errorf("old mail is told of down to %d, the folder is %+v", f.backfill, f.told)
	}
}
