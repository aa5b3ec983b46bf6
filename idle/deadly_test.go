package idle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
)

// deadlyMail is a message whose ENVELOPE makes Dovecot 2.3 end the process.
func deadlyMail(subject string) []byte {
	const unit = "a@example.com, "
	return []byte("From: bob@example.com\r\nSubject: " + subject + "\r\nMessage-ID: <" + subject + "@example.com>\r\n" +
		"To: " + strings.Repeat(unit, (14<<20)/len(unit)) + "ann@example.com\r\n\r\nbody\r\n")
}

// TestDeadlyMail delivers a message that the server dies of, in INBOX and in
// another folder, and mail behind it.
func TestDeadlyMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.retryCap = time.Second
	server, username := w.mailbox("ann", w.having("INBOX", "there before"), w.having("Archive", "there before"))
	stop := w.start()
	w.awaitState("ann", account.Connected)
	stop()
	var want []string
	for _, folder := range []string{"INBOX", "Archive"} {
		for _, subject := range []string{"deadly", "behind"} {
			raw := mail(folder + "-" + subject)
			if subject == "deadly" {
				raw = deadlyMail(folder + "-" + subject)
			}
			server.Deliver(t, username, folder, raw)
			want = append(want, folder+"-"+subject)
		}
		if folder == "INBOX" {
			w.start() // a server that watched may have kept the envelope
		}
		created := w.awaitEvents("ann", event.TypeMessageCreated, len(want))
		wantSubjects(t, created, want...)
		for _, e := range created {
			data := e.Data.(*event.MessageCreated)
			if data.Origin != event.OriginNew || data.EmailID == "" || data.Envelope.From == nil || data.Size == 0 {
				t.Errorf("%q was announced as %+v, envelope %+v", data.Envelope.Subject, data, data.Envelope)
			}
		}
	}
	// Later mail and flags find nothing deadly any more.
	connects := w.awaitState("ann", account.Connected).Status.Counters.Connects
	t.Logf("%d connections", connects)
	server.Doveadm(t, "flags", "add", "-u", username, "\\Seen", "mailbox", "INBOX", "all")
	w.awaitEvents("ann", event.TypeMessageUpdated, 3)
	server.Deliver(t, username, "INBOX", mail("later"))
	w.awaitEvents("ann", event.TypeMessageCreated, len(want)+1)
	if now := w.awaitState("ann", account.Connected).Status.Counters.Connects; now != connects {
		t.Errorf("connected %d times more because of flags and later mail", now-connects)
	}
	w.checkNumbers("ann")
}

// TestDeadlyBackfill announces the mail that was there, with a message in it that
// the server dies of.
func TestDeadlyBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.retryCap = time.Second
	server := dovecottest.Shared(t)
	user, _ := server.User(t)
	for _, raw := range [][]byte{mail("one"), deadlyMail("two"), mail("three")} {
		server.Deliver(t, user, "INBOX", raw)
	}
	w.registerWith("ann", server, user, withBackfill)
	w.start()
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 3), "three", "two", "one")
	w.awaitEvents("ann", event.TypeAccountSyncCompleted, 1)
}

// fetched tells the set and the items of a FETCH command of a client.
func fetched(command string) (set, items string, ok bool) {
	_, args, ok := strings.Cut(command, "FETCH ")
	if !ok {
		return "", "", false
	}
	set, items, _ = strings.Cut(args, " ")
	return set, items, true
}

// TestDeadlyMessages has a scripted server close the connection whenever certain
// items of certain messages are asked for.
func TestDeadlyMessages(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		items  []string // any of them is deadly; none stands for FETCH itself
		deadly []uint32
		n      int
	}{
		{"a single message", []string{"ENVELOPE"}, []uint32{1}, 1},
		{"its envelope", []string{"ENVELOPE"}, []uint32{20}, 40},
		{"several", []string{"ENVELOPE", "BODY"}, []uint32{1, 30, 31}, 40},
		{"whatever is asked", nil, []uint32{3}, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.retryCap = time.Second
			s := newFakeIMAP(t, "IDLE", "INBOX")
			s.answer = func(c *fakeConn, command string) bool {
				set, items, ok := fetched(command)
				if !ok || tc.items != nil && !slices.ContainsFunc(tc.items, func(item string) bool { return strings.Contains(items, item) }) {
					return false
				}
				for i, m := range c.selected.messages {
					if slices.Contains(tc.deadly, m.uid) && inSet(set, m.uid, i == len(c.selected.messages)-1) {
						_ = c.Close()
						return true
					}
				}
				return false
			}
			s.register(w, "ann")
			w.start()
			w.awaitState("ann", account.Connected)
			s.change(func() {
				box := s.boxes["INBOX"]
				for range tc.n {
					box.messages = append(box.messages, fakeMessage{uid: box.next, subject: fmt.Sprint("m", box.next), date: time.Now()})
					box.next++
				}
				s.tell(box)
			})
			if tc.items == nil {
				w.awaitEvents("ann", event.TypeMessageMissing, len(tc.deadly))
				w.awaitEvents("ann", event.TypeMessageCreated, tc.n-len(tc.deadly))
				return
			}
			for i, e := range w.awaitEvents("ann", event.TypeMessageCreated, tc.n) {
				data := e.Data.(*event.MessageCreated)
				if uid := uidOf(t, data); uid != uint32(i+1) || data.Origin != event.OriginNew || data.InternalDate == nil || data.Size == 0 {
					t.Errorf("event %d is of message %d: %+v", i, uid, data)
				} else if slices.Contains(tc.deadly, uid) != (data.Envelope == nil) {
					t.Errorf("the envelope of message %d is %v", uid, data.Envelope)
				}
			}
		})
	}
}

// uidOf is the UID in a message's name.
func uidOf(t *testing.T, data *event.MessageCreated) uint32 {
	t.Helper()
	_, name, _ := strings.Cut(data.Message, "/messages/")
	id, err := folder.ParseMessageID(name)
	if err != nil {
		t.Fatalf("the name %q: %v", data.Message, err)
	}
	return uint32(id.UID)
}

// TestBreakingLinkAccusesNobody has the server break one connection in some
// commands, whatever they are.
func TestBreakingLinkAccusesNobody(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.retryCap = 50 * time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.answer = func(c *fakeConn, _ string) bool {
		if random.IntN(12) > 0 {
			return false
		}
		_ = c.Close()
		return true
	}
	s.register(w, "ann")
	w.start()
	w.awaitEvents("ann", event.TypeAccountConnected, 1)
	const n = 60
	for i := range n {
		s.deliver("INBOX", fmt.Sprint("m", i))
		if i%4 == 0 {
			w.awaitEvents("ann", event.TypeMessageCreated, i+1)
		}
	}
	for _, e := range w.awaitEvents("ann", event.TypeMessageCreated, n) {
		if data := e.Data.(*event.MessageCreated); data.Envelope == nil {
			t.Errorf("message %s was announced without its envelope", data.Message)
		}
	}
}
