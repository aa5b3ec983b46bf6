package idle

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/sandbox"
	"github.com/postern-mail/postern/internal/secret"
)

func TestNewMailIsAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	a := w.awaitState("ann", account.Connected)
	if !slices.Contains(a.Status.Capabilities, "IDLE") {
		t.Errorf("capabilities are %v", a.Status.Capabilities)
	}
	uid := server.Deliver(t, user, "INBOX", mail("Lunch"))

	created := w.awaitEvents("ann", event.TypeMessageCreated, 1)[0]
	data := created.Data.(*event.MessageCreated)
	id, err := data.ID()
	if err != nil {
		t.Fatal(err)
	}
	if id.UID != uid {
		t.Errorf("the event names UID %d, delivered was %d", id.UID, uid)
	}
	e := data.Envelope
	if e.Subject != "Lunch" || e.From.Address != "bob@example.com" || e.To[0].Name != "Ann Lee" || e.MessageID != "Lunch@example.com" {
		t.Errorf("the envelope is %+v", e)
	}
	if data.Origin != event.OriginNew || data.EmailID == "" || data.Size == 0 || data.InternalDate == nil {
		t.Errorf("the data is %+v", data)
	}
	if !strings.Contains(data.Snippet, "Hello, this is Lunch") {
		t.Errorf("the snippet is %q", data.Snippet)
	}
	if c := created.Checkpoint; c == nil || c.UID != uid || c.Folder != id.Folder || c.UIDValidity != id.UIDValidity {
		t.Errorf("the checkpoint is %+v", c)
	}
	w.checkNumbers("ann")
}

func TestOldMailIsNotAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("INBOX", "one", "two", "three"), w.having("Work/Projects", "older", "oldest"))
	w.start()
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "INBOX", mail("new"))
	server.Deliver(t, user, "Work/Projects", mail("new too"))
	events := w.awaitEvents("ann", event.TypeMessageCreated, 2)
	slices.SortFunc(events, func(a, b event.Event) int {
		return strings.Compare(subjects([]event.Event{a})[0], subjects([]event.Event{b})[0])
	})
	wantSubjects(t, events, "new", "new too")
	if n := len(w.events("ann", event.TypeFolderCreated)); n != 0 {
		t.Errorf("%d folders that were there before were announced", n)
	}
}

func TestFlagsAndDeletions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"INBOX", "Archive"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const first, second = imap.UID(1), imap.UID(2)
			server, user := w.mailbox("ann", w.having(name, "first", "second"))
			w.start()
			w.awaitState("ann", account.Connected)

			client := server.Client(t, user)
			if _, err := client.Select(name, nil).Wait(); err != nil {
				t.Fatal(err)
			}
			store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen, "$Label"}}
			if err := client.Store(imap.UIDSetNum(first), store, nil).Close(); err != nil {
				t.Fatal(err)
			}
			updated := w.awaitEvents("ann", event.TypeMessageUpdated, 1)[0].Data.(*event.MessageUpdated)
			if id, _ := updated.ID(); id.UID != first {
				t.Errorf("flags of UID %d are told, want %d", id.UID, first)
			}
			f := updated.Flags
			if len(f.Before) != 0 || f.Before == nil || !slices.Equal(f.After, []string{"$Label", `\Seen`}) || !slices.Equal(f.Added, f.After) {
				t.Errorf("the flags are %+v", f)
			}

			store = &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
			if err := client.Store(imap.UIDSetNum(second), store, nil).Close(); err != nil {
				t.Fatal(err)
			}
			if err := client.UIDExpunge(imap.UIDSetNum(second)).Close(); err != nil {
				t.Fatal(err)
			}
			deleted := w.awaitEvents("ann", event.TypeMessageDeleted, 1)[0].Data.(*event.MessageDeleted)
			if id, _ := deleted.ID(); id.UID != second {
				t.Errorf("the deletion of UID %d is told, want %d", id.UID, second)
			}
			w.checkNumbers("ann")
		})
	}
}

func TestFoldersComeGoAndAreRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	client := server.Client(t, user)
	if err := client.Create("Trips", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	created := w.awaitEvents("ann", event.TypeFolderCreated, 1)[0].Data.(*event.FolderCreated)
	if !slices.Equal(created.Path, []string{"Trips"}) {
		t.Errorf("the folder's path is %q", created.Path)
	}
	server.Deliver(t, user, "Trips", mail("ticket"))
	inNew := w.awaitEvents("ann", event.TypeMessageCreated, 1)[0].Data.(*event.MessageCreated)
	if inNew.Folder != created.Folder {
		t.Errorf("the mail is in %s, want %s", inNew.Folder, created.Folder)
	}
	if err := client.Rename("Trips", "Journeys", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	renamed := w.awaitEvents("ann", event.TypeFolderRenamed, 1)[0].Data.(*event.FolderRenamed)
	if renamed.Folder != created.Folder || !slices.Equal(renamed.Path, []string{"Journeys"}) || !slices.Equal(renamed.PreviousPath, []string{"Trips"}) {
		t.Errorf("the renaming is %+v", renamed)
	}
	if err := client.Delete("Journeys").Wait(); err != nil {
		t.Fatal(err)
	}
	gone := w.awaitEvents("ann", event.TypeFolderDeleted, 1)[0].Data.(*event.FolderDeleted)
	if gone.Folder != created.Folder {
		t.Errorf("folder %s is gone, want %s", gone.Folder, created.Folder)
	}
	w.checkNumbers("ann")
}

// What happened while nobody watched is told after a restart, and what was told
// before is not told again, with the snapshots there and without them.
func TestRestartTellsWhatWasMissedOnce(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run("snapshots lost "+strconv.FormatBool(lost), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server, user := w.mailbox("ann", w.having("INBOX", "before"))
			stop := w.start()
			w.awaitState("ann", account.Connected)
			seen := server.Deliver(t, user, "INBOX", mail("one"))
			gone := server.Deliver(t, user, "INBOX", mail("two"))
			w.awaitEvents("ann", event.TypeMessageCreated, 2)
			stop()

			client := server.Client(t, user)
			if _, err := client.Select("INBOX", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			for uid, flag := range map[imap.UID]imap.Flag{seen: imap.FlagSeen, gone: imap.FlagDeleted} {
				store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{flag}}
				if err := client.Store(imap.UIDSetNum(uid), store, nil).Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := client.Expunge().Close(); err != nil {
				t.Fatal(err)
			}
			server.Deliver(t, user, "INBOX", mail("three"))
			inbox, err := w.folders.Resolve(t.Context(), "ann", []folder.Seen{{Name: "INBOX", Delimiter: '/'}})
			if err != nil {
				t.Fatal(err)
			}
			if lost {
				// As after a crash before the last snapshots: the log is ahead.
				saved, err := w.points.Load(t.Context(), "ann")
				if err != nil {
					t.Fatal(err)
				}
				old := &folder.Snapshot{
					UIDValidity: idOf(t, w).UIDValidity, UIDNext: 2, UIDs: imap.UIDSet{{Start: 1, Stop: 1}},
					Revision: saved[inbox[0].Key].Revision,
				}
				if err := w.points.Save(t.Context(), "ann", inbox[0].Key, old); err != nil {
					t.Fatal(err)
				}
				if err := w.points.SavePosition(t.Context(), "ann", folder.Position{}); err != nil {
					t.Fatal(err)
				}
			}
			w.start()
			wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 3), "one", "two", "three")
			w.awaitEvents("ann", event.TypeMessageUpdated, 1)
			deleted := w.awaitEvents("ann", event.TypeMessageDeleted, 1)[0].Data.(*event.MessageDeleted)
			if id, _ := deleted.ID(); id.UID != gone {
				t.Errorf("the deletion of UID %d is told, want %d", id.UID, gone)
			}
			if gaps := w.events("ann", event.TypeAccountGap); len(gaps) > 0 {
				t.Errorf("gaps were announced: %+v", gaps)
			}
			w.checkNumbers("ann")
		})
	}
}

func TestRenamedWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("Work", "old"))
	stop := w.start()
	w.awaitState("ann", account.Connected)
	stop()
	if err := server.Client(t, user).Rename("Work", "Jobs", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	server.Deliver(t, user, "Jobs", mail("new"))
	w.start()
	renamed := w.awaitEvents("ann", event.TypeFolderRenamed, 1)[0].Data.(*event.FolderRenamed)
	if !slices.Equal(renamed.PreviousPath, []string{"Work"}) || !slices.Equal(renamed.Path, []string{"Jobs"}) {
		t.Errorf("the renaming is %+v", renamed)
	}
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
	w.checkNumbers("ann")
}

// idOf is the placement of the first message that was announced.
func idOf(t *testing.T, w *world) folder.MessageID {
	t.Helper()
	id, err := w.events("ann", event.TypeMessageCreated)[0].Data.(*event.MessageCreated).ID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A folder that was deleted and made anew has another UIDVALIDITY: known mail
// that is put back is not announced again, unknown mail is.
func TestResetDoesNotRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("Work", "known"))
	stop := w.start()
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "Work", mail("told"))
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	stop()
	client := server.Client(t, user)
	if err := client.Delete("Work").Wait(); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"known", "told", "arrived meanwhile"} {
		server.Deliver(t, user, "Work", mail(subject))
	}
	w.start()
	reset := w.awaitEvents("ann", event.TypeFolderReset, 1)[0].Data.(*event.FolderReset)
	if reset.PreviousUIDValidity == reset.UIDValidity || reset.UIDValidity == 0 {
		t.Errorf("the reset is %+v", reset)
	}
	events := w.awaitEvents("ann", event.TypeMessageCreated, 2)
	wantSubjects(t, events, "told", "arrived meanwhile")
	if origin := events[1].Data.(*event.MessageCreated).Origin; origin != event.OriginResync {
		t.Errorf("the origin is %s, want %s", origin, event.OriginResync)
	}
	w.checkNumbers("ann")
}

func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	_, err := w.accounts.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.Password = secret.New("wrong-canary")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	a := w.awaitState("ann", account.AuthRequired)
	if !strings.Contains(a.Status.Detail, "credentials") || strings.Contains(a.Status.Detail, "canary") {
		t.Errorf("the detail is %q", a.Status.Detail)
	}
	w.awaitEvents("ann", event.TypeAccountAuthRequired, 1)
	_, err = w.accounts.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.Password = secret.New(server.Password())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "INBOX", mail("at last"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "at last")
}

// Two owners that both believe in themselves never announce anything twice.
func TestTwoOwnersAnnounceOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	w.start()
	const n = 20
	for i := range n {
		server.Deliver(t, user, "INBOX", mail("number "+strconv.Itoa(i)))
	}
	events := w.awaitEvents("ann", event.TypeMessageCreated, n)
	uids := map[imap.UID]bool{}
	for _, ev := range events {
		id, err := ev.Data.(*event.MessageCreated).ID()
		if err != nil {
			t.Fatal(err)
		}
		if uids[id.UID] {
			t.Errorf("UID %d was announced twice", id.UID)
		}
		uids[id.UID] = true
	}
	w.checkNumbers("ann")
}

func TestDeletedAndRegisteredAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, _ := w.mailbox("ann", w.having("INBOX", "old"))
	w.start()
	w.awaitState("ann", account.Connected)
	if err := w.accounts.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeAccountDeleted, 1)
	other, password := server.User(t)
	server.Deliver(t, other, "INBOX", mail("another mailbox's old mail"))
	w.register("ann", server.Host(), server.Port(), other, password)
	w.awaitEvents("ann", event.TypeAccountCreated, 2)
	w.awaitState("ann", account.Connected)
	server.Deliver(t, other, "INBOX", mail("new"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
	if resets := w.events("ann", event.TypeFolderReset); len(resets) > 0 {
		t.Error("the new mailbox was taken for the old one with other numbers")
	}
	w.checkNumbers("ann")
}

func TestChangedSettingsAreAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	change := func(edit func(*account.Account)) {
		_, err := w.accounts.Update(t.Context(), "ann", "", func(a *account.Account) error { edit(a); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(a *account.Account) { a.Labels = map[string]string{"team": "x"} })
	w.awaitEvents("ann", event.TypeAccountUpdated, 1) // or both might be told of at once
	change(func(a *account.Account) { a.Watch.ExcludedFolders = []string{"Junk"} })
	updates := w.awaitEvents("ann", event.TypeAccountUpdated, 2)
	for i, want := range []string{"labels", "watch"} {
		if fields := updates[i].Data.(*event.AccountUpdated).Fields; !slices.Equal(fields, []string{want}) {
			t.Errorf("changed fields %v, want %s", fields, want)
		}
	}
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "INBOX", mail("after the change"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "after the change")
	w.checkNumbers("ann")
}

func TestPausedAccountIsNotWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	w.setPaused("ann", true)
	w.awaitState("ann", account.Paused)
	w.awaitEvents("ann", event.TypeAccountPaused, 1)
	server.Deliver(t, user, "INBOX", mail("while paused"))
	w.setPaused("ann", false)
	w.awaitState("ann", account.Connected)
	w.awaitEvents("ann", event.TypeAccountResumed, 1)
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "while paused")
}

// The sandbox has no CONDSTORE and no QRESYNC, so flags and deletions are found
// by comparing.
func TestServerWithoutCondStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.AddUser("ann", "secret"); err != nil {
		t.Fatal(err)
	}
	w.register("ann", server.Host(), server.Port(), "ann", "secret")
	w.start()
	w.awaitState("ann", account.Connected)
	first, err := server.Deliver(t.Context(), "ann", "INBOX", mail("first"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Deliver(t.Context(), "ann", "Archive", mail("elsewhere")); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeMessageCreated, 2)
	conn, err := imapconn.Dial(t.Context(), imapconn.Config{
		Host: server.Host(), Port: server.Port(), TLSMode: imapconn.ModePlaintext,
		Auth: imapconn.Auth{Username: "ann", Password: "secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Select(t.Context(), "INBOX", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Store(t.Context(), imap.UIDSetNum(first), &imap.StoreFlags{
		Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged},
	}, nil); err != nil {
		t.Fatal(err)
	}
	updated := w.awaitEvents("ann", event.TypeMessageUpdated, 1)[0].Data.(*event.MessageUpdated)
	if !slices.Equal(updated.Flags.Added, []string{`\Flagged`}) {
		t.Errorf("the flags are %+v", updated.Flags)
	}
	if _, err := conn.Store(t.Context(), imap.UIDSetNum(first), &imap.StoreFlags{
		Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted},
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Expunge(t.Context(), imap.UIDSetNum(first)); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeMessageDeleted, 1)
	w.checkNumbers("ann")
}

// Mail that comes in great numbers between two looks at flags is not told of as
// changed afterwards.
func TestManyNewMessagesAreNotUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = time.Hour
	server, user := w.mailbox("ann", w.having("INBOX", "old"))
	w.start()
	w.awaitState("ann", account.Connected)
	const many = diff.WindowSize + 60
	for i := range many {
		server.Deliver(t, user, "INBOX", mail(strconv.Itoa(i)))
	}
	w.awaitEvents("ann", event.TypeMessageCreated, many)
	// A change of flags makes the owner look at all that changed.
	client := server.Client(t, user)
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}
	if err := client.Store(imap.UIDSetNum(1), store, nil).Close(); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeMessageUpdated, 1)
}
