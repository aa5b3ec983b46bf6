package idle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
)

// never is a poll interval that no test lives to see, so that whatever is found
// was told of by the server.
const never = time.Hour

// With NOTIFY one connection tells of all folders: of their mail, of flags and of
// deletions.
func TestNotifyTellsOfAllFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = never
	server, user := w.mailbox("ann", w.having("Work/Projects", "old"))
	w.start()
	a := w.awaitState("ann", account.Connected)
	if !a.Status.Notify {
		t.Error("the status does not say that NOTIFY is on")
	}
	for i, name := range []string{"Archive", "Work/Projects", "INBOX", "Archive"} {
		began := time.Now()
		server.Deliver(t, user, name, mail(fmt.Sprint("number ", i)))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
		t.Logf("%s: announced after %s", name, time.Since(began))
	}
	client := server.Client(t, user)
	if _, err := client.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	flag := func(uid imap.UID, flag imap.Flag) {
		store := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{flag}}
		if err := client.Store(imap.UIDSetNum(uid), store, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	flag(1, "$Label") // of which nothing shows in STATUS but HIGHESTMODSEQ
	w.awaitEvents("ann", event.TypeMessageUpdated, 1)
	flag(2, imap.FlagDeleted)
	w.awaitEvents("ann", event.TypeMessageUpdated, 2)
	if err := client.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeMessageDeleted, 1)
	w.checkNumbers("ann")
}

// With NOTIFY the coming and going of folders is seen, too. Now and then Dovecot
// misses one that happens while it lists them; the polls find it.
func TestNotifyTellsOfNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = 5 * time.Second
	server, user := w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	client := server.Client(t, user)
	if err := client.Create("Trips", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeFolderCreated, 1)
	server.Deliver(t, user, "Trips", mail("ticket"))
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	if err := client.Rename("Trips", "Journeys", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeFolderRenamed, 1)
	server.Deliver(t, user, "Journeys", mail("another ticket"))
	w.awaitEvents("ann", event.TypeMessageCreated, 2)
	if err := client.Delete("Journeys").Wait(); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeFolderDeleted, 1)
	w.checkNumbers("ann")
}

// Hints about folders that the account excludes lead to nothing.
func TestNotifyOfExcludedFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = never
	server, user := w.mailbox("ann", w.having("Junk/Old", "old"))
	_, err := w.accounts.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.Watch.ExcludedFolders = []string{"Junk"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "Junk", mail("spam"))
	server.Deliver(t, user, "Junk/Old", mail("more spam"))
	server.Deliver(t, user, "Archive", mail("ham"))
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "ham")
}

// notifyServer is a fake that has NOTIFY. It tells of deliveries by notify.
func notifyServer(t *testing.T, answer func(c *fakeConn, tag, command string) bool) *fakeIMAP {
	t.Helper()
	s := newFakeIMAP(t, "IDLE NOTIFY", "INBOX", "Work")
	s.answer = func(c *fakeConn, line string) bool {
		tag, command, _ := strings.Cut(line, " ")
		return answer != nil && answer(c, tag, command)
	}
	return s
}

// notify tells who idles of a folder's state, once somebody does.
func (s *fakeIMAP) notify(w *world, line string, args ...any) {
	w.t.Helper()
	w.await("somebody to idle", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			if c.idle != "" {
				c.say(line, args...)
				return true
			}
		}
		return false
	})
}

// A server that has NOTIFY and refuses it is polled; the form that it accepts is
// found.
func TestNotifyRefused(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(command string) string{
		"all of it":                func(string) string { return "NO [NOTIFICATIONOVERFLOW] not for these mailboxes" },
		"as if it did not know it": func(string) string { return "BAD what?" },
		"an event": func(command string) string {
			if strings.Contains(command, "MailboxName") {
				return "NO [BADEVENT (MessageNew MessageExpunge FlagChange)] no such event"
			}
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := notifyServer(t, func(c *fakeConn, tag, command string) bool {
				answer := ""
				if strings.HasPrefix(command, "NOTIFY") {
					answer = refuse(command)
				}
				if answer != "" {
					c.say("%s %s", tag, answer)
				}
				return answer != ""
			})
			s.register(w, "ann")
			w.start()
			a := w.awaitState("ann", account.Connected)
			if a.Status.Notify != (name == "an event") {
				t.Errorf("NOTIFY on is %v", a.Status.Notify)
			}
			s.deliver("Work", "polled")
			s.deliver("INBOX", "pushed")
			w.awaitEvents("ann", event.TypeMessageCreated, 2)
			if n := len(w.events("ann", event.TypeAccountDegraded)); n > 0 || s.count("NOTIFY") > 2 {
				t.Errorf("%d times degraded, %d times NOTIFY", n, s.count("NOTIFY"))
			}
		})
	}
}

// A server that gives up notifying tells nothing any more until it is asked
// again. One that cannot keep it up is watched without.
func TestNotificationOverflow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll, w.retryCap = never, 50*time.Millisecond
	s := notifyServer(t, func(c *fakeConn, _, command string) bool {
		if strings.HasPrefix(command, "NOTIFY SET") {
			c.server.mute = false
		}
		return false
	})
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	subjects := 0
	overflow := func() {
		s.change(func() { s.mute = true })
		subjects++
		s.deliver("Work", fmt.Sprint("number ", subjects))
		s.notify(w, "* OK [NOTIFICATIONOVERFLOW] too much")
		w.awaitEvents("ann", event.TypeMessageCreated, subjects)
	}
	for i := range notifyEnds {
		overflow()
		w.await("NOTIFY to be asked for again", func() bool { return s.count("NOTIFY SET") == i+2 })
		subjects++
		s.deliver("INBOX", fmt.Sprint("number ", subjects))
		w.awaitEvents("ann", event.TypeMessageCreated, subjects)
	}
	s.change(func() { s.mute = true })
	s.notify(w, "* OK [NOTIFICATIONOVERFLOW] too much")
	w.await("the account to do without", func() bool {
		a, err := w.accounts.Get(t.Context(), "ann")
		return err == nil && a.Status.State == account.Connected && !a.Status.Notify
	})
	s.change(func() { s.mute = false })
	subjects++
	s.deliver("INBOX", fmt.Sprint("number ", subjects))
	w.awaitEvents("ann", event.TypeMessageCreated, subjects)
	if n := s.count("NOTIFY SET"); n != notifyEnds+1 {
		t.Errorf("NOTIFY was asked for %d times, want %d", n, notifyEnds+1)
	}
	w.checkNumbers("ann")
}

// A hint leads to the folder that it names, and to no other.
func TestHintsPointToFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = never
	s := newFakeIMAP(t, "IDLE NOTIFY", "INBOX", "Work", "Other")
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	lists, others, opened := s.count("LIST"), s.count("STATUS Other"), s.count("EXAMINE Other")
	s.deliver("Work", "one")
	s.notify(w, "* STATUS Work (MESSAGES 1 UIDNEXT 2)")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	if s.count("LIST") != lists || s.count("STATUS Other") != others || s.count("EXAMINE Other") != opened {
		t.Error("other folders were looked at")
	}
	// News of a folder that nobody knows, and of lost events, lead to a list.
	s.deliver("Other", "two")
	s.notify(w, "* NO NOTIFY error, some events may have got lost")
	w.awaitEvents("ann", event.TypeMessageCreated, 2)
	s.change(func() {
		s.order = append(s.order, "New")
		s.boxes["New"] = &fakeBox{validity: 9, next: 1}
	})
	s.notify(w, `* LIST () "/" New`)
	w.awaitEvents("ann", event.TypeFolderCreated, 1)
	w.checkNumbers("ann")
}

// A server whose NOTIFY keeps things to itself is found out by the polls, which
// go on; and it is polled as if it had none.
func TestNotifyThatKeepsQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushGrace = time.Nanosecond
	s := notifyServer(t, nil)
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 5 {
		s.deliver("Work", fmt.Sprint("number ", i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
	w.checkNumbers("ann")
}

// Which folders NOTIFY is taken to tell of.
func TestCovered(t *testing.T) {
	t.Parallel()
	f := func(name string, missed int) *folderState {
		state := &folderState{missed: missed}
		state.Name = name
		return state
	}
	o := &owner{notify: notifying{on: true, foreign: []string{"Shared/", "Users/"}}}
	for _, tc := range []struct {
		folder *folderState
		want   bool
	}{
		{f("Work", 0), true},
		{f("Work", 1), true},
		{f("Work", enoughPushes), false},
		{f("Shared/Team", 0), false},
		{f("Sharedware", 0), true},
	} {
		if got := o.covered(tc.folder); got != tc.want {
			t.Errorf("%s with %d missed: %v", tc.folder.Name, tc.folder.missed, got)
		}
	}
	o.notify.on = false
	if o.covered(f("Work", 0)) {
		t.Error("a folder is covered without NOTIFY")
	}
}

// Dovecot without NOTIFY: the same mailbox is watched by IDLE and polls.
func TestDovecotWithoutNotify(t *testing.T) {
	t.Parallel()
	for _, caps := range [][]string{
		{"IMAP4rev1", "IDLE", "UIDPLUS", "ENABLE", "CONDSTORE", "QRESYNC", "LIST-EXTENDED", "LIST-STATUS", "SASL-IR"},
		{"IMAP4rev1", "IDLE", "UIDPLUS", "SASL-IR"},
		{"IMAP4rev1"},
	} {
		t.Run(strings.Join(caps, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server := dovecottest.Start(t, dovecottest.Capability(caps...))
			user, password := server.User(t)
			w.register("ann", server.Host(), server.Port(), user, password)
			w.start()
			a := w.awaitState("ann", account.Connected)
			if a.Status.Notify || slices.Contains(a.Status.Capabilities, string(imap.CapNotify)) {
				t.Error("the server has NOTIFY")
			}
			for i, name := range []string{"INBOX", "Archive", "INBOX", "Sent", "Archive"} {
				server.Deliver(t, user, name, mail(fmt.Sprint("number ", i)))
				w.awaitEvents("ann", event.TypeMessageCreated, i+1)
			}
			w.checkNumbers("ann")
		})
	}
}

// NOTIFY as it is asked for is grammatical: Dovecot, which checks it, takes the
// best form.
func TestDovecotTakesTheBestForm(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	user, password := server.User(t)
	conn, err := imapconn.Dial(t.Context(), imapconn.Config{
		Host: server.Host(), Port: server.Port(), TLSMode: imapconn.ModePlaintext,
		Auth: imapconn.Auth{Username: user, Password: password},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, groups := range notifyForms() {
		if _, err := conn.Notify(t.Context(), false, groups...); err != nil {
			t.Error(err)
		}
	}
}
