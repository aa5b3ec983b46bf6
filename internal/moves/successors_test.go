package moves

import (
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func TestSuccessors(t *testing.T) {
	t.Parallel()
	m, err := OpenSuccessors(t.Context(), natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), 1)
	if err != nil {
		t.Fatal(err)
	}
	inbox, archive, trash := Place{folder.Key{1}, 7}, Place{folder.Key{2}, 8}, Place{folder.Key{3}, 9}
	record := func(from, to Place, source, dest imap.UIDSet) {
		t.Helper()
		if err := m.Record(t.Context(), "ann", from, to, &imap.CopyData{UIDValidity: to.UIDValidity, SourceUIDs: source, DestUIDs: dest}); err != nil {
			t.Fatal(err)
		}
	}
	// The n-th of one set is the n-th of the other, however they are divided.
	record(inbox, archive, imap.UIDSet{{Start: 1, Stop: 3}, {Start: 9, Stop: 9}}, imap.UIDSet{{Start: 21, Stop: 22}, {Start: 31, Stop: 32}})
	record(archive, trash, imap.UIDSet{{Start: 22, Stop: 22}}, imap.UIDSet{{Start: 5, Stop: 5}})
	for _, tt := range []struct {
		from, to folder.MessageID
		found    bool
	}{
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 1}, folder.MessageID{Folder: archive.Folder, UIDValidity: 8, UID: 21}, true},
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 2}, folder.MessageID{Folder: trash.Folder, UIDValidity: 9, UID: 5}, true},
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 3}, folder.MessageID{Folder: archive.Folder, UIDValidity: 8, UID: 31}, true},
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 9}, folder.MessageID{Folder: archive.Folder, UIDValidity: 8, UID: 32}, true},
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 4}, folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 4}, false},
		{folder.MessageID{Folder: inbox.Folder, UIDValidity: 6, UID: 1}, folder.MessageID{Folder: inbox.Folder, UIDValidity: 6, UID: 1}, false},
	} {
		got, found, err := m.Find(t.Context(), "ann", tt.from)
		if err != nil || got != tt.to || found != tt.found {
			t.Errorf("%v became %v, %v, %v; want %v, %v", tt.from, got, found, err, tt.to, tt.found)
		}
	}
	if _, found, _ := m.Find(t.Context(), "bob", folder.MessageID{Folder: inbox.Folder, UIDValidity: 7, UID: 1}); found {
		t.Error("another account's move was found")
	}
}

// A message that goes to and fro has no last place; the search for it ends.
func TestSuccessorsInCircles(t *testing.T) {
	t.Parallel()
	m, err := OpenSuccessors(t.Context(), natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), 1)
	if err != nil {
		t.Fatal(err)
	}
	a, b := Place{folder.Key{1}, 1}, Place{folder.Key{2}, 1}
	one := &imap.CopyData{UIDValidity: 1, SourceUIDs: imap.UIDSetNum(1), DestUIDs: imap.UIDSetNum(1)}
	for _, between := range [][2]Place{{a, b}, {b, a}} {
		if err := m.Record(t.Context(), "ann", between[0], between[1], one); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.Find(t.Context(), "ann", folder.MessageID{Folder: a.Folder, UIDValidity: 1, UID: 1}); err != nil {
		t.Error(err)
	}
}

func FuzzSuccessors(f *testing.F) {
	f.Add(encodeSuccessors([]succession{{from: imap.UIDRange{Start: 1, Stop: 3}, to: Place{folder.Key{1}, 7}, uid: 21}}))
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeSuccessors(b)
		if err != nil {
			return
		}
		again, err := decodeSuccessors(encodeSuccessors(list))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%v became %v, %v", list, again, err)
		}
	})
}
