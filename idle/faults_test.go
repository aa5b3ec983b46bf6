package idle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/linktest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// An append that fails because the owner is told to stop leaves nothing in the
// snapshots that the log does not have.
func TestStopInTheMidstOfAnAppend(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, natsd.Config{})
	line := linktest.New(t, server.Addr(), nil)
	w := openWorld(t, jetStreamOver(t, line, server), t.TempDir()+"/secret.key")
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.register(w, "ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	fetched := s.count("UID FETCH")
	line.Freeze()
	s.deliver("INBOX", "one")
	w.await("the mail to be fetched", func() bool { return s.count("UID FETCH") > fetched })
	// What the stop does with the connection to NATS gets through, the append
	// that is under way does not: it is lost with the frozen connection.
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	line.Cut()
	line.Thaw()
	<-stopped
	w.start()
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "one")
	w.checkNumbers("ann")
}

// A folder that nothing happens in has an old snapshot, and that is no gap.
func TestQuietFolderIsNoGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Quiet")
	s.register(w, "ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	for i := range 5 {
		s.deliver("INBOX", fmt.Sprint(i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
	stop()
	// Retention takes all but the last event.
	stream, err := w.js.Stream(t.Context(), eventlog.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	s.deliver("INBOX", "5")
	w.start()
	w.awaitEvents("ann", event.TypeAccountOwnerChanged, 1)
	w.awaitState("ann", account.Connected)
	w.await("the new mail", func() bool {
		events := w.events("ann", event.TypeMessageCreated)
		return len(events) > 0 && subjects(events)[len(events)-1] == "5"
	})
	if gaps := w.events("ann", event.TypeAccountGap); len(gaps) > 0 {
		t.Errorf("a gap was announced: %+v", gaps[0].Data)
	}
}

// An account that was deleted while nobody watched is announced as deleted, and
// the mailbox that is registered under its id afterwards is another one.
func TestRegisteredAnewWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	first.deliver("INBOX", "old")
	first.register(w, "ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	first.deliver("INBOX", "told")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	stop()
	if err := w.accounts.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	second := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	for i := range 9 {
		second.deliver("INBOX", fmt.Sprint("another ", i))
	}
	second.change(func() {
		second.boxes["INBOX"].validity = 99
		for i := range second.boxes["INBOX"].messages {
			second.boxes["INBOX"].messages[i].date = time.Now().Add(-time.Hour)
		}
	})
	second.register(w, "ann")
	w.start()
	w.awaitEvents("ann", event.TypeAccountDeleted, 1)
	w.awaitEvents("ann", event.TypeAccountCreated, 2)
	w.awaitState("ann", account.Connected)
	second.deliver("INBOX", "new")
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 2), "told", "new")
	for _, kind := range []event.Type{event.TypeFolderReset, event.TypeAccountGap, event.TypeFolderCreated, event.TypeFolderDeleted} {
		if events := w.events("ann", kind); len(events) > 0 {
			t.Errorf("%s was announced: %+v", kind, events[0].Data)
		}
	}
	w.checkNumbers("ann")
}

// An account that was deleted while nobody watched is announced as deleted also
// when nothing takes its place.
func TestDeletedWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.register(w, "ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	stop()
	if err := w.accounts.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.awaitEvents("ann", event.TypeAccountDeleted, 1)
	w.await("what is kept about the account to be forgotten", func() bool {
		first, err := w.points.LoadFirst(t.Context(), "ann")
		return err == nil && first == nil
	})
}

// LIST answers that lack folders that are there delete nothing.
func TestPartialList(t *testing.T) {
	t.Parallel()
	for _, lacking := range []string{"INBOX", "Work", "INBOX Work"} {
		t.Run(lacking, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := newFakeIMAP(t, "IDLE", "INBOX", "Work", "Other")
			s.register(w, "ann")
			w.start()
			w.awaitState("ann", account.Connected)
			all := s.order
			s.change(func() {
				s.order = nil
				for _, name := range all {
					if !strings.Contains(lacking, name) {
						s.order = append(s.order, name)
					}
				}
			})
			polls := s.count("LIST")
			w.await("three polls", func() bool { return s.count("LIST") > polls+3 })
			s.change(func() { s.order = all })
			for _, name := range all {
				s.deliver(name, "new in "+name)
			}
			w.awaitEvents("ann", event.TypeMessageCreated, 3)
			for _, kind := range []event.Type{event.TypeFolderDeleted, event.TypeFolderCreated} {
				if events := w.events("ann", kind); len(events) > 0 {
					t.Errorf("%s was announced: %+v", kind, events[0].Data)
				}
			}
		})
	}
}

// A server that gives a folder another UIDVALIDITY each time is not asked for
// ever.
func TestUIDValidityThatNeverStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = 20 * time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	s.answer = func(_ *fakeConn, command string) bool {
		if strings.HasSuffix(command, "EXAMINE Work") {
			s.boxes["Work"].validity++
		}
		return false
	}
	s.register(w, "ann")
	w.start()
	w.awaitEvents("ann", event.TypeAccountGap, 1)
	polls := s.count("LIST")
	w.await("further polls", func() bool { return s.count("LIST") > polls+10 })
	if n := len(w.events("ann", event.TypeFolderReset)); n != maxResets {
		t.Errorf("the folder was reset %d times, want %d", n, maxResets)
	}
	s.deliver("INBOX", "still watched")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
}

// A server that ends IDLE at once, or speaks as soon as it idles, is not asked
// without a pause.
func TestRestlessServer(t *testing.T) {
	t.Parallel()
	for name, restless := range map[string]func(c *fakeConn, tag string) bool{
		"ends IDLE at once": func(c *fakeConn, tag string) bool {
			c.say("+ idling")
			c.say("%s OK enough", tag)
			return true
		},
		"says EXISTS whenever it idles": func(c *fakeConn, tag string) bool {
			c.idle = tag
			c.say("+ idling")
			c.say("* %d EXISTS", len(c.selected.messages))
			return true
		},
		"refuses IDLE": func(c *fakeConn, tag string) bool {
			c.say("%s NO not now", tag)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
			s.answer = func(c *fakeConn, command string) bool {
				tag, verb, _ := strings.Cut(command, " ")
				return verb == "IDLE" && restless(c, tag)
			}
			s.register(w, "ann")
			w.start()
			w.awaitState("ann", account.Connected)
			s.deliver("INBOX", "first")
			w.awaitEvents("ann", event.TypeMessageCreated, 1)
			// The poll sets the pace; in five of them IDLE is asked for a few times.
			polls := s.count("LIST")
			before := s.count("IDLE")
			w.await("polls", func() bool { return s.count("LIST") >= polls+5 })
			if n := s.count("IDLE") - before; n > 60 {
				t.Errorf("IDLE was asked for %d times in five polls", n)
			}
			s.deliver("INBOX", "new")
			wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 2), "first", "new")
		})
	}
}

// A server that allows one connection only has its INBOX watched all the same,
// and the state says what is not.
func TestOneConnectionOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	full := true
	s.answer = func(c *fakeConn, command string) bool {
		if full && strings.HasSuffix(command, "EXAMINE Work") {
			c.say("* BYE too many connections")
			_ = c.Close()
			return true
		}
		return false
	}
	s.register(w, "ann")
	w.start()
	a := w.awaitState("ann", account.Degraded)
	if !strings.Contains(a.Status.Detail, "too many connections") {
		t.Errorf("the detail is %q", a.Status.Detail)
	}
	s.deliver("INBOX", "new")
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 1), "new")
	s.change(func() { full = false })
	w.awaitState("ann", account.Connected)
}

// A message that is counted and listed, and at first cannot be fetched, is
// announced later on.
func TestMessageThatComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	late := true
	s.answer = func(c *fakeConn, command string) bool {
		if !late || !strings.Contains(command, "UID FETCH") {
			return false
		}
		tag, rest, _ := strings.Cut(command, " UID FETCH ")
		set, _, _ := strings.Cut(rest, " ")
		for i, m := range c.selected.messages {
			if m.subject != "late" && inSet(set, m.uid, i == len(c.selected.messages)-1) {
				c.sayMessage(i, m)
				late = false // from the next command on
			}
		}
		c.say("%s OK done", tag)
		return true
	}
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("INBOX", "late")
	s.deliver("INBOX", "on time")
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 2), "on time", "late")
	w.checkNumbers("ann")
}

// A message that can never be fetched is told of as missing.
func TestMessageThatNeverComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.answer = func(c *fakeConn, command string) bool {
		tag, rest, found := strings.Cut(command, " UID FETCH ")
		if !found {
			return false
		}
		set, _, _ := strings.Cut(rest, " ")
		for i, m := range c.selected.messages {
			if m.subject != "ghost" && inSet(set, m.uid, i == len(c.selected.messages)-1) {
				c.sayMessage(i, m)
			}
		}
		c.say("%s OK done", tag)
		return true
	}
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("INBOX", "ghost")
	s.deliver("INBOX", "real")
	w.awaitEvents("ann", event.TypeMessageMissing, 1)
	searches := s.count("UID SEARCH")
	polls := s.count("LIST")
	w.await("further polls", func() bool { return s.count("LIST") > polls+3 })
	if n := s.count("UID SEARCH"); n > searches+1 {
		t.Errorf("the folder was listed %d times more", n-searches)
	}
	w.checkNumbers("ann")
}

// FETCH answers come twice, in parts and unasked, and one event comes of it.
func TestAnswersInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.answer = func(c *fakeConn, command string) bool {
		tag, _, found := strings.Cut(command, " UID FETCH ")
		if !found {
			return false
		}
		for i, m := range c.selected.messages {
			c.say("* %d FETCH (FLAGS ())", i+1)
			c.sayMessage(i, m)
			c.say(`* %d FETCH (UID %d FLAGS (\Seen))`, i+1, m.uid)
		}
		c.say("%s OK done", tag)
		return true
	}
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("INBOX", "one")
	created := w.awaitEvents("ann", event.TypeMessageCreated, 1)[0].Data.(*event.MessageCreated)
	if created.Size != 100 || created.InternalDate == nil || len(created.Flags) != 1 {
		t.Errorf("the data is %+v", created)
	}
}

// A SEARCH that lists less than there is deletes nothing.
func TestSearchThatForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	for i := range 5 {
		s.deliver("INBOX", fmt.Sprint("old ", i))
	}
	s.change(func() {
		for i := range s.boxes["INBOX"].messages {
			s.boxes["INBOX"].messages[i].date = time.Now().Add(-time.Hour)
		}
	})
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	s.change(func() {
		s.answer = func(c *fakeConn, command string) bool {
			tag, _, found := strings.Cut(command, " UID SEARCH ")
			if found {
				c.say("* SEARCH 1")
				c.say("%s OK done", tag)
			}
			return found
		}
		box := s.boxes["INBOX"]
		box.messages = box.messages[1:]
		for c := range s.conns {
			if c.idle != "" {
				c.exists--
				c.say("* 1 EXPUNGE")
			}
		}
	})
	deleted := w.awaitEvents("ann", event.TypeMessageDeleted, 1)[0].Data.(*event.MessageDeleted)
	if id, _ := deleted.ID(); id.UID != 1 {
		t.Errorf("the deletion of UID %d is told, want 1", id.UID)
	}
	s.deliver("INBOX", "after")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	w.awaitEvents("ann", event.TypeMessageDeleted, 1)
}

// Mail with a date in the future does not make the old mail behind it new.
func TestDateInTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	for i := range 5 {
		s.deliver("INBOX", fmt.Sprint("old ", i))
	}
	s.change(func() {
		for i := range s.boxes["INBOX"].messages {
			s.boxes["INBOX"].messages[i].date = time.Now().Add(-time.Hour)
		}
		s.boxes["INBOX"].messages[1].date = time.Now().Add(1000 * time.Hour)
	})
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("INBOX", "new")
	w.await("the new mail", func() bool {
		events := w.events("ann", event.TypeMessageCreated)
		return len(events) > 0 && subjects(events)[len(events)-1] == "new"
	})
	if events := w.events("ann", event.TypeMessageCreated); len(events) > 2 {
		t.Errorf("announced %q", subjects(events))
	}
	w.checkNumbers("ann")
}

// Without IDLE the server is asked; one that tells news only when a folder is
// opened is found out as well.
func TestWithoutIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "", "INBOX")
	s.deaf = true
	s.register(w, "ann")
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 3 {
		s.deliver("INBOX", fmt.Sprint(i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
}

func TestRestlessPauses(t *testing.T) {
	t.Parallel()
	var r restless
	for i := range restlessAfter {
		if pause := r.after(true); pause != 0 {
			t.Errorf("turn %d for nothing is followed by a pause of %s", i+1, pause)
		}
	}
	last := time.Duration(0)
	for range 100 {
		pause := r.after(true)
		if pause <= 0 || pause < last || pause > restlessCap {
			t.Errorf("a pause of %s follows one of %s", pause, last)
		}
		last = pause
	}
	if last != restlessCap {
		t.Errorf("the pauses grow to %s, want %s", last, restlessCap)
	}
	if pause := r.after(false); pause != 0 || r.after(true) != 0 {
		t.Error("a turn that was good for something does not end the pauses")
	}
}
