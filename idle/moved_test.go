package idle

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
)

// mover moves messages of a mailbox as a request does.
type mover struct {
	*world
	id   string
	conn *imapconn.Conn
	keys map[string]folder.Key
}

func newMover(w *world, id string, server *dovecottest.Server, user string, names ...string) *mover {
	w.t.Helper()
	conn, err := imapconn.Dial(w.t.Context(), imapconn.Config{
		Host: server.Host(), Port: server.Port(), TLSMode: imapconn.ModePlaintext,
		Auth: imapconn.Auth{Username: user, Password: server.Password()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	m := &mover{world: w, id: id, conn: conn, keys: map[string]folder.Key{}}
	seen := make([]folder.Seen, len(names))
	for i, name := range names {
		seen[i] = folder.Seen{Name: name, Delimiter: '/'}
	}
	resolved, err := w.folders.Resolve(w.t.Context(), id, seen)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range resolved {
		m.keys[f.Name] = f.Key
	}
	return m
}

func (m *mover) move(from, to string, uids imap.UIDSet) {
	m.t.Helper()
	opened, err := m.conn.Select(m.t.Context(), from, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = m.moves.Run(m.t.Context(), moves.Move{
		Account: m.id, From: m.keys[from], UIDValidity: opened.UIDValidity, UIDs: uids, To: m.keys[to],
	}, func(ctx context.Context) (*imap.CopyData, error) { return m.conn.Move(ctx, uids, to) })
	if err != nil {
		m.t.Fatal(err)
	}
}

// awaitSuccessor waits until those who have the old name of a message are told
// the new one.
func (w *world) awaitSuccessor(id string, before, now folder.MessageID) {
	w.t.Helper()
	w.await("the successor of a message", func() bool {
		got, known, err := w.successors.Find(w.t.Context(), id, before)
		if err != nil {
			w.t.Fatal(err)
		}
		return known && got == now
	})
}

func wantTypes(t *testing.T, w *world, id string, created, moved, deleted int) {
	t.Helper()
	for _, want := range []struct {
		of event.Type
		n  int
	}{{event.TypeMessageCreated, created}, {event.TypeMessageMoved, moved}, {event.TypeMessageDeleted, deleted}} {
		if got := len(w.events(id, want.of)); got != want.n {
			t.Errorf("there are %d events %s, want %d:\n%s", got, want.of, want.n, w.describe())
		}
	}
	w.checkNumbers(id)
}

func TestOwnMovesAreTold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, to string }{{"INBOX", "Archive"}, {"Archive", "INBOX"}, {"Archive", "Work/Done"}} {
		t.Run(test.from+" to "+strings.ReplaceAll(test.to, "/", "."), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			server, user := w.mailbox("ann", w.having(test.from, "one", "two", "three"), w.having(test.to, "stays"))
			stop := w.start()
			w.awaitState("ann", account.Connected)
			m := newMover(w, "ann", server, user, test.from, test.to)
			m.move(test.from, test.to, imap.UIDSetNum(1, 3))

			moved := w.awaitEvents("ann", event.TypeMessageMoved, 2)
			for i, want := range []imap.UID{1, 3} {
				data := moved[i].Data.(*event.MessageMoved)
				now, err := data.ID()
				if err != nil {
					t.Fatal(err)
				}
				before, err := data.PreviousID()
				if err != nil {
					t.Fatal(err)
				}
				if before.UID != want || before.Folder != m.keys[test.from] || now.Folder != m.keys[test.to] || now.UID != imap.UID(2+i) {
					t.Errorf("moved from %+v to %+v", before, now)
				}
				w.awaitSuccessor("ann", before, now)
				if data.EmailID == "" || data.Flags == nil || data.PreviousFolder != event.FolderName("ann", before.Folder) {
					t.Errorf("the event says %+v", data)
				}
			}
			// Whoever takes the account next knows of both sides of the move.
			stop()
			w.start()
			w.awaitEvents("ann", event.TypeAccountOwnerChanged, 2)
			server.Deliver(t, user, test.to, mail("later"))
			w.awaitEvents("ann", event.TypeMessageCreated, 1)
			wantTypes(t, w, "ann", 1, 2, 0)
		})
	}
}

// A fingerprint proves nothing: mail that others move is deleted and created,
// with the same email id.
func TestUnprovedMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server, user := w.mailbox("ann", w.having("INBOX", "one"), w.having("Archive", "other"))
	w.start()
	w.awaitState("ann", account.Connected)
	client := server.Client(t, user)
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Move(imap.UIDSetNum(1), "Archive").Wait(); err != nil {
		t.Fatal(err)
	}
	created := w.awaitEvents("ann", event.TypeMessageCreated, 1)[0].Data.(*event.MessageCreated)
	deleted := w.awaitEvents("ann", event.TypeMessageDeleted, 1)[0].Data.(*event.MessageDeleted)
	if created.EmailID == "" || created.EmailID != deleted.EmailID {
		t.Errorf("email id %q was deleted, %q created", deleted.EmailID, created.EmailID)
	}
	wantTypes(t, w, "ann", 1, 0, 1)
}

// placements are where the log says that messages are, of those that it told of.
// It fails the test if a message comes that is there, or goes that is not.
func (w *world) placements(id string) map[folder.MessageID]bool {
	w.t.Helper()
	there := map[folder.MessageID]bool{}
	come := func(at folder.MessageID, err error) {
		if err != nil || there[at] {
			w.t.Errorf("%+v came although it was there, %v", at, err)
		}
		there[at] = true
	}
	leave := func(at folder.MessageID, err error) {
		if err != nil || !there[at] {
			w.t.Errorf("%+v went although it was not there, %v", at, err)
		}
		delete(there, at)
	}
	for _, ev := range w.events(id, event.TypeMessageCreated, event.TypeMessageMoved, event.TypeMessageDeleted) {
		switch data := ev.Data.(type) {
		case *event.MessageCreated:
			come(data.ID())
		case *event.MessageMoved:
			leave(data.PreviousID())
			come(data.ID())
		case *event.MessageDeleted:
			leave(data.ID())
		}
	}
	return there
}

// awaitPlacements waits until the log says that messages are where they are.
func (w *world) awaitPlacements(id string, want func() map[folder.MessageID]bool) {
	w.t.Helper()
	w.await("the log to say where the messages are", func() bool { return maps.Equal(w.placements(id), want()) })
}

// placements are where the server has its messages.
func (s *fakeIMAP) placements(t *testing.T, w *world, id string) map[folder.MessageID]bool {
	t.Helper()
	seen := make([]folder.Seen, len(s.order))
	for i, name := range s.order {
		seen[i] = folder.Seen{Name: name, Delimiter: '/'}
	}
	resolved, err := w.folders.Resolve(t.Context(), id, seen)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[folder.MessageID]bool{}
	for _, f := range resolved {
		for _, m := range s.boxes[f.Name].messages {
			there[folder.MessageID{Folder: f.Key, UIDValidity: s.boxes[f.Name].validity, UID: imap.UID(m.uid)}] = true
		}
	}
	return there
}

// A server with OBJECTID proves what others have moved.
func TestMovesProvedByTheServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                    string
		do                      func(s *fakeIMAP)
		created, moved, deleted int
		// steps says that there are several changes, of which a watcher may see
		// more than their outcome.
		steps bool
	}{
		{name: "out of INBOX", do: func(s *fakeIMAP) { s.transfer("INBOX", 2, "Archive", true) }, moved: 1},
		{name: "into INBOX", do: func(s *fakeIMAP) { s.transfer("Archive", 1, "INBOX", true) }, moved: 1},
		{name: "between other folders", do: func(s *fakeIMAP) { s.transfer("Archive", 1, "Work", true) }, moved: 1},
		{name: "there and back", do: func(s *fakeIMAP) {
			s.transfer("INBOX", 1, "Work", true)
			s.transfer("Work", 1, "INBOX", true)
		}, created: 1, deleted: 1, steps: true},
		{name: "copied", do: func(s *fakeIMAP) { s.transfer("INBOX", 1, "Archive", false) }, created: 1},
		{name: "copied to one folder and moved to another", do: func(s *fakeIMAP) {
			s.transfer("INBOX", 1, "Archive", false)
			s.transfer("INBOX", 1, "Work", true)
		}, created: 1, moved: 1, steps: true},
		{name: "deleted", do: func(s *fakeIMAP) { s.change(func() { s.expunge(s.boxes["INBOX"], 1) }) }, deleted: 1},
		{name: "moved and deleted there", do: func(s *fakeIMAP) {
			s.transfer("INBOX", 1, "Work", true)
			s.change(func() { s.expunge(s.boxes["Work"], 1) })
		}, deleted: 1, steps: true},
	} {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, watched %v", test.name, watched), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s := newFakeIMAP(t, "IDLE MOVE UIDPLUS OBJECTID", "INBOX", "Archive", "Work")
				s.register(w, "ann")
				stop := w.start()
				w.awaitState("ann", account.Connected)
				s.deliver("INBOX", "one")
				s.deliver("INBOX", "two")
				s.deliver("Archive", "three")
				w.awaitEvents("ann", event.TypeMessageCreated, 3)
				if !watched {
					stop()
				}
				test.do(s)
				if !watched {
					w.start()
				}
				w.awaitPlacements("ann", func() map[folder.MessageID]bool { return s.placements(t, w, "ann") })
				if !watched || !test.steps {
					wantTypes(t, w, "ann", 3+test.created, test.moved, test.deleted)
				}
				for _, ev := range w.events("ann", event.TypeMessageDeleted) {
					if ev.Data.(*event.MessageDeleted).EmailID != "Mone" {
						t.Errorf("what was deleted is %+v", ev.Data)
					}
				}
			})
		}
	}
}

// Messages are moved at random, by requests and by others, while owners come and
// go. The log leads to where the messages are, each step once.
func TestMovesAtRandom(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	w := newWorld(t)
	names := []string{"INBOX", "Archive", "Work"}
	server, user := w.mailbox("ann")
	for _, name := range names[1:] {
		if err := server.Client(t, user).Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	stop := w.start()
	w.awaitState("ann", account.Connected)
	m := newMover(w, "ann", server, user, names...)
	for i := range 12 {
		server.Deliver(t, user, names[i%len(names)], mail(fmt.Sprintf("number %d", i)))
	}
	same := func() { w.awaitPlacements("ann", m.placements) }
	same()
	for range 30 {
		from, to := pick(random, names...), pick(random, names...)
		switch random.IntN(6) {
		case 0:
			stop()
			stop = w.start()
		case 1: // as another client does
			m.others(random, from, to)
		default:
			if uids := m.some(random, from); from != to && len(uids) > 0 {
				m.move(from, to, uids)
			}
		}
		if random.IntN(2) == 0 {
			same()
		}
	}
	same()
	w.checkNumbers("ann")
	if len(w.events("ann", event.TypeMessageMoved)) == 0 {
		t.Error("no move was told")
	}
}

// some chooses messages of a folder.
func (m *mover) some(random *rand.Rand, name string) imap.UIDSet {
	m.t.Helper()
	if _, err := m.conn.Select(m.t.Context(), name, nil); err != nil {
		m.t.Fatal(err)
	}
	found, err := m.conn.Search(m.t.Context(), &imapconn.SearchCriteria{}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		m.t.Fatal(err)
	}
	var some imap.UIDSet
	all, _ := found.All.Nums()
	for _, uid := range all {
		if random.IntN(3) == 0 {
			some.AddNum(uid)
		}
	}
	return some
}

// others moves messages without anybody being told.
func (m *mover) others(random *rand.Rand, from, to string) {
	m.t.Helper()
	uids := m.some(random, from)
	if from == to || len(uids) == 0 {
		return
	}
	if _, err := m.conn.Move(m.t.Context(), uids, to); err != nil {
		m.t.Fatal(err)
	}
}

// placements are where the server has its messages.
func (m *mover) placements() map[folder.MessageID]bool {
	m.t.Helper()
	there := map[folder.MessageID]bool{}
	for _, name := range slices.Sorted(maps.Keys(m.keys)) {
		opened, err := m.conn.Select(m.t.Context(), name, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		found, err := m.conn.Search(m.t.Context(), &imapconn.SearchCriteria{}, &imapconn.SearchOptions{ReturnAll: true})
		if err != nil {
			m.t.Fatal(err)
		}
		all, _ := found.All.Nums()
		for _, uid := range all {
			there[folder.MessageID{Folder: m.keys[name], UIDValidity: opened.UIDValidity, UID: uid}] = true
		}
	}
	return there
}
