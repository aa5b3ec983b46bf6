package idle

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
)

// TestLookFindsWhatTheAPIDid: no poll comes for an hour, but who changed the
// folders through the API says so.
func TestLookFindsWhatTheAPIDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = time.Hour
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	client := server.Client(t, user)
	if err := client.Create("Trips", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	w.supervisor.Look("ann")
	w.supervisor.Look("nobody")
	created := w.awaitEvents("ann", event.TypeFolderCreated, 1)[0].Data.(*event.FolderCreated)
	trips := w.resolve("Trips")
	w.await("the new folder to have been compared", func() bool { return !w.supervisor.Synced("ann", trips.Key).IsZero() })
	if created.Folder != event.FolderName("ann", trips.Key) {
		t.Errorf("%s was announced, want the folder %s", created.Folder, trips.Key)
	}
	// Two folders change places, which shows neither in names nor in UIDs.
	if err := client.Create("Drives", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	drives := w.resolve("Drives")
	w.supervisor.Look("ann")
	w.awaitEvents("ann", event.TypeFolderCreated, 2)
	err := w.folders.Exclusive(t.Context(), "ann", func() error {
		for _, names := range [][2]string{{"Trips", "x"}, {"Drives", "Trips"}, {"x", "Drives"}} {
			if err := client.Rename(names[0], names[1], nil).Wait(); err != nil {
				return err
			}
		}
		_, err := w.folders.Rename(t.Context(), "ann",
			folder.Renamed{Key: trips.Key, To: folder.Seen{Name: "Drives", Delimiter: '/'}},
			folder.Renamed{Key: drives.Key, To: folder.Seen{Name: "Trips", Delimiter: '/'}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.supervisor.Look("ann")
	for _, e := range w.awaitEvents("ann", event.TypeFolderRenamed, 2) {
		renamed := e.Data.(*event.FolderRenamed)
		want := []string{"Drives"}
		if renamed.Folder == event.FolderName("ann", drives.Key) {
			want = []string{"Trips"}
		}
		if !slices.Equal(renamed.Path, want) {
			t.Errorf("%s is at %q, want %q", renamed.Folder, renamed.Path, want)
		}
	}
	w.checkNumbers("ann")
}

// resolve is the folder of a name as whoever lists folders sees it.
func (w *world) resolve(name string) folder.Folder {
	w.t.Helper()
	folders, err := w.folders.Resolve(w.t.Context(), "ann", []folder.Seen{{Name: name, Delimiter: '/'}})
	if err != nil {
		w.t.Fatal(err)
	}
	return folders[0]
}

// TestAPIChangesWhileNobodyWatched: what was renamed and deleted through the API
// is announced by the next owner, under the names that the log knows, and once.
func TestAPIChangesWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("Work", "a"), w.having("Gone", "b"))
	stop := w.start()
	w.awaitState("ann", account.Connected)
	stop()
	work, gone := w.resolve("Work"), w.resolve("Gone")
	client := server.Client(t, user)
	if err := client.Rename("Work", "Jobs", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := client.Delete("Gone").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.folders.Rename(t.Context(), "ann", folder.Renamed{Key: work.Key, To: folder.Seen{Name: "Jobs", Delimiter: '/'}}); err != nil {
		t.Fatal(err)
	}
	if err := w.folders.Delete(t.Context(), "ann", gone.Key); err != nil {
		t.Fatal(err)
	}
	stop = w.start()
	renamed := w.awaitEvents("ann", event.TypeFolderRenamed, 1)[0].Data.(*event.FolderRenamed)
	if !slices.Equal(renamed.PreviousPath, []string{"Work"}) || !slices.Equal(renamed.Path, []string{"Jobs"}) {
		t.Errorf("the renaming is %+v", renamed)
	}
	deleted := w.awaitEvents("ann", event.TypeFolderDeleted, 1)[0].Data.(*event.FolderDeleted)
	if !slices.Equal(deleted.Path, []string{"Gone"}) || deleted.Folder != event.FolderName("ann", gone.Key) {
		t.Errorf("the deletion is %+v", deleted)
	}
	w.awaitState("ann", account.Connected)
	stop()
	// An owner that died between telling and taking note of it.
	if _, err := w.folders.Rename(t.Context(), "ann", folder.Renamed{Key: work.Key, To: folder.Seen{Name: "Work", Delimiter: '/'}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.folders.Rename(t.Context(), "ann", folder.Renamed{Key: work.Key, To: folder.Seen{Name: "Jobs", Delimiter: '/'}}); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "Jobs", mail("new"))
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	for _, kind := range []event.Type{event.TypeFolderRenamed, event.TypeFolderDeleted} {
		if n := len(w.events("ann", kind)); n != 1 {
			t.Errorf("%d events %s, want 1", n, kind)
		}
	}
	if n := len(w.events("ann", event.TypeFolderCreated)); n != 0 {
		t.Errorf("%d folders were announced as new", n)
	}
	w.checkNumbers("ann")
}

// TestFoldersBelowAPrefix: INBOX. belongs to the server, not to the path.
func TestFoldersBelowAPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := dovecottest.Start(t, dovecottest.Separator("."), dovecottest.Prefix("INBOX."))
	user, password := server.User(t)
	w.register("ann", server.Host(), server.Port(), user, password)
	w.start()
	w.awaitState("ann", account.Connected)
	if err := server.Client(t, user).Create("INBOX.Trips.2026", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	created := w.awaitEvents("ann", event.TypeFolderCreated, 1)
	if path := created[len(created)-1].Data.(*event.FolderCreated).Path; !slices.Equal(path, []string{"Trips", "2026"}) {
		t.Errorf("the folder is announced at %q", path)
	}
}

// TestFrozenListOfRenamed: a server that goes on listing folders as they were, on
// the connections that it has, does not keep a rename from the log.
func TestFrozenListOfRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("Work", "a"))
	w.start()
	w.awaitState("ann", account.Connected)
	work := w.resolve("Work")
	server.FreezeLists(t, user)
	if err := server.Client(t, user).Rename("Work", "Jobs", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	server.Deliver(t, user, "Jobs", mail("in a folder renamed unseen"))
	renamed := w.awaitEvents("ann", event.TypeFolderRenamed, 1)[0].Data.(*event.FolderRenamed)
	if renamed.Folder != event.FolderName("ann", work.Key) || !slices.Equal(renamed.Path, []string{"Jobs"}) {
		t.Errorf("the renaming is %+v", renamed)
	}
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	if got := w.resolve("Jobs"); got.Key != work.Key {
		t.Errorf("the folder has the key %s now, before it was %s", got.Key, work.Key)
	}
	w.checkNumbers("ann")
}

// TestFrozenListOfNew: nor does it keep a folder from the log that others were
// shown. What others were shown and is not there is forgotten.
func TestFrozenListOfNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	server.FreezeLists(t, user)
	if err := server.Client(t, user).Create("New", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	created := w.resolve("New") // by who lists on another connection
	folders := w.awaitEvents("ann", event.TypeFolderCreated, 1)
	if name := folders[0].Data.(*event.FolderCreated).Folder; len(folders) != 1 || name != event.FolderName("ann", created.Key) {
		t.Errorf("%d folders were announced as new, the first is %s, want %s", len(folders), name, created.Key)
	}
	ghost := w.resolve("Ghost")
	w.await("the folder that is not there to be forgotten", func() bool {
		_, err := w.folders.ByKey(t.Context(), "ann", ghost.Key)
		return errors.Is(err, folder.ErrNotFound)
	})
	if n := len(w.events("ann", event.TypeFolderDeleted)); n != 0 {
		t.Errorf("%d folders were announced as deleted", n)
	}
	w.checkNumbers("ann")
}
