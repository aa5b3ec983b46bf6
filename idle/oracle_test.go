package idle

import (
	"fmt"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
)

// checkExactlyOnce compares the log with the mailbox as go-imap's client sees
// it: each message has one message.created under its name, and there are no
// others.
func (w *world) checkExactlyOnce(id string, server *dovecottest.Server, user string, folders ...string) {
	w.t.Helper()
	want := map[string]int{}
	client := server.Client(w.t, user)
	for _, name := range folders {
		key := w.folderKey(id, name)
		data, err := client.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			w.t.Fatal(err)
		}
		found, err := client.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, uid := range found.AllUIDs() {
			want[fmt.Sprintf("%s/%d/%d", key, data.UIDValidity, uid)] = 1
		}
	}
	got := map[string]int{}
	for _, ev := range w.events(id, event.TypeMessageCreated) {
		placed, err := ev.Data.(*event.MessageCreated).ID()
		if err != nil {
			w.t.Fatal(err)
		}
		got[fmt.Sprintf("%s/%d/%d", placed.Folder, placed.UIDValidity, placed.UID)]++
	}
	for name := range want {
		if got[name] != 1 {
			w.t.Errorf("message %s was announced %d times", name, got[name])
		}
	}
	for name, n := range got {
		if want[name] == 0 {
			w.t.Errorf("message %s, which is not there, was announced %d times", name, n)
		}
	}
	w.checkNumbers(id)
	w.checkOrder(id)
}

// checkOrder fails the test if mail of a folder was announced out of order.
func (w *world) checkOrder(id string) {
	w.t.Helper()
	last := map[string]imap.UID{}
	for _, ev := range w.events(id, event.TypeMessageCreated) {
		created := ev.Data.(*event.MessageCreated)
		placed, err := created.ID()
		if err != nil {
			w.t.Fatal(err)
		}
		if placed.UID <= last[created.Folder] && created.Origin == event.OriginNew {
			w.t.Errorf("UID %d of %s was announced after UID %d", placed.UID, created.Folder, last[created.Folder])
		}
		last[created.Folder] = placed.UID
	}
}

// folderKey is the key of a folder whose creation the log told of, or of one
// that was there at first.
func (w *world) folderKey(id, name string) string {
	w.t.Helper()
	for _, ev := range w.events(id, event.TypeMessageCreated) {
		placed, err := ev.Data.(*event.MessageCreated).ID()
		if err != nil {
			w.t.Fatal(err)
		}
		f, err := w.folders.ByKey(w.t.Context(), id, placed.Folder)
		if err == nil && f.Name == name {
			return placed.Folder.String()
		}
	}
	return "unknown"
}

// awaitCreated waits until an account has n message.created events.
func (w *world) awaitCreated(id string, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d messages to be announced", n), func() bool {
		return len(w.events(id, event.TypeMessageCreated)) >= n
	})
}

// pick gives one of several at random.
func pick[T any](random interface{ IntN(int) int }, of ...T) T { return of[random.IntN(len(of))] }
