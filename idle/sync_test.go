package idle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/secret"
)

// registerWith registers a mailbox of the shared Dovecot with settings of its
// own.
func (w *world) registerWith(id string, server *dovecottest.Server, user string, edit func(*account.Account)) {
	w.t.Helper()
	a := &account.Account{ID: id, Email: id + "@example.com", IMAP: account.Endpoint{
		Host: server.Host(), Port: server.Port(), TLSMode: account.Plaintext, Username: user, Password: secret.New(server.Password()),
	}}
	edit(a)
	if _, err := w.accounts.Create(w.t.Context(), a, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(id string, edit func(*account.Account)) {
	w.t.Helper()
	_, err := w.accounts.Update(w.t.Context(), id, "", func(a *account.Account) error { edit(a); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

func withBackfill(a *account.Account) { a.Backfill = account.BackfillEnvelopes }

// origins are the subjects of what was told of with an origin.
func origins(events []event.Event, origin event.Origin) []string {
	var list []string
	for _, ev := range events {
		if data := ev.Data.(*event.MessageCreated); data.Origin == origin {
			list = append(list, data.Envelope.Subject)
		}
	}
	return list
}

func TestFirstSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("INBOX", "one"), w.having("Archive", "two", "three"))
	stop := w.start()
	started := w.awaitEvents("ann", event.TypeAccountSyncStarted, 1)[0].Data.(*event.AccountSyncStarted)
	completed := w.awaitEvents("ann", event.TypeAccountSyncCompleted, 1)[0].Data.(*event.AccountSyncCompleted)
	if started.Folders < 2 || completed.Messages != 3 {
		t.Errorf("the sync began with %+v and ended with %+v", started, completed)
	}
	stop()
	w.start()
	w.awaitEvents("ann", event.TypeAccountOwnerChanged, 2)
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "INBOX", mail("new"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
	for _, of := range []event.Type{event.TypeAccountSyncStarted, event.TypeAccountSyncCompleted} {
		if n := len(w.events("ann", of)); n != 1 {
			t.Errorf("%d events %s, want 1", n, of)
		}
	}
}

// Old mail is told of on request, once, the newest of a folder first, whoever
// stops in between, and new mail comes in between.
func TestBackfill(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	w := newWorld(t)
	server := dovecottest.Shared(t)
	user, _ := server.User(t)
	const inINBOX, inArchive = backfillAtOnce + 150, 60
	fill(t, server, user, "INBOX", inINBOX)
	fill(t, server, user, "Archive", inArchive)
	w.registerWith("ann", server, user, withBackfill)
	stop := w.start()
	for done := false; !done; {
		seen := len(w.events("ann"))
		w.await("more events", func() bool {
			return len(w.events("ann")) > seen || len(w.events("ann", event.TypeAccountSyncCompleted)) > 0
		})
		if random.IntN(2) == 0 {
			stop()
			stop = w.start()
		}
		done = len(w.events("ann", event.TypeAccountSyncCompleted)) > 0
	}
	server.Deliver(t, user, "INBOX", mail("new"))
	w.await("the new message", func() bool {
		return len(origins(w.events("ann", event.TypeMessageCreated), event.OriginNew)) > 0
	})
	var want []string
	for i := range inINBOX {
		want = append(want, fmt.Sprint("INBOX ", inINBOX-i))
	}
	for i := range inArchive {
		want = append(want, fmt.Sprint("Archive ", inArchive-i))
	}
	events := w.events("ann", event.TypeMessageCreated)
	if got := origins(events, event.OriginBackfill); !slices.Equal(got, want) {
		t.Errorf("told of %d old messages, beginning with %q, want %d", len(got), got[:min(len(got), 5)], len(want))
	}
	if got := origins(events, event.OriginNew); !slices.Equal(got, []string{"new"}) {
		t.Errorf("new were %q", got)
	}
	for _, of := range []event.Type{event.TypeAccountSyncStarted, event.TypeAccountSyncCompleted} {
		if n := len(w.events("ann", of)); n != 1 {
			t.Errorf("%d events %s, want 1", n, of)
		}
	}
	w.checkNumbers("ann")
}

// fill puts numbered messages into a folder.
func fill(t testing.TB, server *dovecottest.Server, user, name string, n int) {
	t.Helper()
	client := server.Client(t, user)
	if name != "INBOX" {
		if err := client.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		raw := mail(fmt.Sprint(name, " ", i+1))
		cmd := client.Append(name, int64(len(raw)), nil)
		_, err := cmd.Write(raw)
		if err == nil {
			err = cmd.Close()
		}
		if err == nil {
			_, err = cmd.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Of old mail that is yet to be told of when a folder is renumbered, as much is
// told of afterwards.
func TestResetKeepsTheBackfill(t *testing.T) {
	t.Parallel()
	f := &folderState{started: true, backfill: 9}
	f.told.UIDValidity, f.told.UIDNext = 1, 11
	f.told.UIDs = imap.UIDSet{{Start: 1, Stop: 4}, {Start: 7, Stop: 10}}
	f.reset(2)
	if f.unfilled != 6 || f.backfill != 0 {
		t.Errorf("after the reset %d messages are to be told of, below %d", f.unfilled, f.backfill)
	}
}

// A folder that is watched again has no news but what comes then.
func TestExcludedFolderIsIncludedAgain(t *testing.T) {
	t.Parallel()
	for _, atFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("excluded at first ", atFirst), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := dovecottest.Shared(t)
			user, _ := server.User(t)
			fill(t, server, user, "Lists", 2)
			exclude := func(a *account.Account) { a.Watch.ExcludedFolders = []string{"Lists"} }
			w.registerWith("ann", server, user, func(a *account.Account) {
				if atFirst {
					exclude(a)
				}
			})
			w.start()
			w.awaitState("ann", account.Connected)
			if !atFirst {
				server.Deliver(t, user, "Lists", mail("before"))
				w.awaitEvents("ann", event.TypeMessageCreated, 1)
				w.update("ann", exclude)
				w.awaitEvents("ann", event.TypeAccountUpdated, 1)
				w.awaitEvents("ann", event.TypeAccountOwnerChanged, 2)
			}
			server.Deliver(t, user, "INBOX", mail("to INBOX"))
			server.Deliver(t, user, "Lists", mail("while excluded"))
			server.Deliver(t, user, "INBOX", mail("to INBOX again"))
			w.await("the mail in INBOX", func() bool {
				return slices.Contains(subjects(w.events("ann", event.TypeMessageCreated)), "to INBOX again")
			})
			w.update("ann", func(a *account.Account) { a.Watch.ExcludedFolders = nil })
			owners := 2
			if !atFirst {
				owners = 3
			}
			w.awaitEvents("ann", event.TypeAccountOwnerChanged, owners)
			// The folder counts as looked at when a sync is over.
			if _, err := w.accounts.Resync(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
			w.awaitEvents("ann", event.TypeAccountSyncCompleted, 2)
			server.Deliver(t, user, "Lists", mail("afterwards"))
			want := []string{"to INBOX", "to INBOX again", "afterwards"}
			if !atFirst {
				want = slices.Insert(want, 0, "before")
			}
			wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, len(want)), want...)
			w.checkNumbers("ann")
		})
	}
}

// Mail that comes in the very second of the registration is new if the folders
// had been listed before.
func TestMailInTheSecondOfTheRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Archive")
	s.deliver("Archive", "old")
	s.register(w, "ann")
	a, err := w.accounts.Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	// The folder gets mail when it was listed and before it is opened.
	delivered := false
	s.answer = func(_ *fakeConn, command string) bool {
		if !delivered && strings.HasSuffix(command, "EXAMINE Archive") {
			delivered = true
			box := s.boxes["Archive"]
			box.messages = append(box.messages, fakeMessage{uid: box.next, subject: "new", date: a.CreateTime})
			box.next++
		}
		return false
	}
	for i := range s.boxes["Archive"].messages {
		s.boxes["Archive"].messages[i].date = a.CreateTime
	}
	w.start()
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
}

// What a server hides from a comparison of numbers, a resync finds.
func TestResync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Archive")
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 4 {
		s.deliver("Archive", strconv.Itoa(i+1))
	}
	w.awaitEvents("ann", event.TypeMessageCreated, 4)
	box, second := s.boxes["Archive"], fakeMessage{}
	s.change(func() {
		second = box.messages[1]
		s.expunge(box, 2)
	})
	w.awaitEvents("ann", event.TypeMessageDeleted, 1)
	// One message is gone and another came back, so the number is the same.
	s.change(func() {
		s.expunge(box, 3)
		box.messages = slices.Insert(box.messages, 1, second)
	})
	before, err := w.accounts.Resync(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if before.Resyncs != 1 {
		t.Errorf("%d resyncs", before.Resyncs)
	}
	w.awaitEvents("ann", event.TypeAccountSyncCompleted, 2)
	w.awaitEvents("ann", event.TypeMessageDeleted, 2)
	back := w.awaitEvents("ann", event.TypeMessageCreated, 5)[4].Data.(*event.MessageCreated)
	if id, err := back.ID(); err != nil || id.UID != 2 || back.Origin != event.OriginReappeared {
		t.Errorf("what came back is told as %+v", back)
	}
	w.awaitEvents("ann", event.TypeAccountSyncStarted, 2)
	if n := len(w.events("ann", event.TypeAccountUpdated)); n != 0 {
		t.Error("a resync was announced as a change of settings")
	}
	w.checkNumbers("ann")
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = 0
	server, user := w.mailbox("ann")
	w.start()
	before := w.awaitState("ann", account.Connected)
	if _, err := w.accounts.Reconnect(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	w.await("a new connection", func() bool {
		a, err := w.accounts.Get(t.Context(), "ann")
		return err == nil && a.Status.Counters.Connects > before.Status.Counters.Connects && a.Status.State == account.Connected
	})
	server.Deliver(t, user, "INBOX", mail("new"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
	if n := len(w.events("ann", event.TypeAccountUpdated)); n != 0 {
		t.Error("a reconnection was announced as a change of settings")
	}
}

// Very much mail at once is announced as such once, and told of whole, without
// keeping others waiting.
func TestOverflow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.overflowAfter = 2 * newAtOnce
	server, user := w.mailbox("ann", w.having("Archive", "old"))
	stop := w.start()
	w.awaitState("ann", account.Connected)
	stop()
	const n = 5*newAtOnce + 7
	copyMany(t, server, user, "Archive", n)
	server.Deliver(t, user, "INBOX", mail("new"))
	w.start()
	events := w.awaitEvents("ann", event.TypeMessageCreated, n+1)
	if got := subjects(events)[0]; got != "new" {
		t.Errorf("told of %q before the mail in INBOX", got)
	}
	overflow := w.awaitEvents("ann", event.TypeFolderOverflow, 1)[0].Data.(*event.FolderOverflow)
	if overflow.Changes != n {
		t.Errorf("%d changes were announced, want %d", overflow.Changes, n)
	}
	w.checkNumbers("ann")
	w.checkOrder("ann")
	// Once all is told, the next time counts again.
	client := server.Client(t, user)
	if _, err := client.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := client.Store(imap.UIDSet{{Start: 2, Stop: 0}}, store, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	w.await("all deletions", func() bool { return len(w.events("ann", event.TypeMessageDeleted)) == n })
	w.awaitEvents("ann", event.TypeFolderOverflow, 2)
	w.checkNumbers("ann")
}

// copyMany fills a folder that has one message with copies of it.
func copyMany(t testing.TB, server *dovecottest.Server, user, name string, n int) {
	t.Helper()
	conn, err := imapconn.Dial(t.Context(), imapconn.Config{
		Host: server.Host(), Port: server.Port(), TLSMode: imapconn.ModePlaintext,
		Auth: imapconn.Auth{Username: user, Password: server.Password()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Select(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	for have := 1; n > 0; {
		part := min(have, n)
		if _, err := conn.Copy(t.Context(), imap.UIDSet{{Start: 1, Stop: imap.UID(part)}}, name); err != nil {
			t.Fatal(err)
		}
		have, n = have+part, n-part
	}
}

// A server whose UIDNEXT goes back gives names that were others'. That is said
// once, and mail under such a name is told of.
func TestUIDNextGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Archive")
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 3 {
		s.deliver("Archive", strconv.Itoa(i+1))
	}
	w.awaitEvents("ann", event.TypeMessageCreated, 3)
	for round := range 2 {
		s.change(func() {
			box := s.boxes["Archive"]
			box.messages, box.next = box.messages[:1], 2
		})
		w.awaitEvents("ann", event.TypeMessageDeleted, 2+round)
		s.deliver("Archive", "again "+strconv.Itoa(round))
		w.awaitEvents("ann", event.TypeMessageCreated, 4+round)
	}
	wantSubjects(t, w.events("ann", event.TypeMessageCreated), "1", "2", "3", "again 0", "again 1")
	if gaps := w.awaitEvents("ann", event.TypeAccountGap, 1); gaps[0].Data.(*event.AccountGap).Folder == "" {
		t.Errorf("the gap is %+v", gaps[0].Data)
	}
	w.checkNumbers("ann")
}
