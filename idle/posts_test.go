package idle

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/linktest"
)

// idleOn makes an account idle on folders beside INBOX.
func (w *world) idleOn(id string, paths ...string) {
	w.t.Helper()
	_, err := w.accounts.Update(w.t.Context(), id, "", func(a *account.Account) error {
		a.Watch.IdleFolders = paths
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Without NOTIFY the folders that the account names are pushed, too, each on a
// connection of its own; a folder that comes later as soon as it is there.
func TestIdleFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = never
	server := dovecottest.Start(t, dovecottest.Capability("IMAP4rev1", "IDLE", "UIDPLUS", "CONDSTORE", "ENABLE", "LIST-STATUS", "LIST-EXTENDED"))
	user, password := server.User(t)
	w.register("ann", server.Host(), server.Port(), user, password)
	w.idleOn("ann", "Archive", "Sent", "Later")
	w.start()
	w.awaitState("ann", account.Connected)
	for i, name := range []string{"Archive", "Sent", "INBOX", "Archive"} {
		server.Deliver(t, user, name, mail(fmt.Sprint("number ", i)))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
	client := server.Client(t, user)
	if err := client.Create("Later", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	w.idleOn("ann", "Archive", "Later") // which also makes the folders be listed
	w.awaitEvents("ann", event.TypeFolderCreated, 1)
	w.awaitState("ann", account.Connected)
	server.Deliver(t, user, "Later", mail("number 4"))
	w.awaitEvents("ann", event.TypeMessageCreated, 5)
	w.checkNumbers("ann")
}

// A server that gives no further connection has the folder polled, and the
// state says what to do.
func TestIdleFolderWithoutConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.retryCap = 20 * time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	var full atomic.Bool
	full.Store(true)
	s.answer = func(c *fakeConn, command string) bool {
		if full.Load() && strings.HasSuffix(command, "IDLE") && c.selected == s.boxes["Work"] {
			c.say("* BYE no more for you")
			_ = c.Close()
			return true
		}
		return false
	}
	s.register(w, "ann")
	w.idleOn("ann", "Work")
	w.start()
	a := w.awaitState("ann", account.Degraded)
	s.deliver("Work", "polled")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	for _, want := range []string{`"Work"`, "no more for you", "idle_folders"} {
		if !strings.Contains(a.Status.Detail, want) {
			t.Errorf("the detail is %q, want it to say %q", a.Status.Detail, want)
		}
	}
	full.Store(false)
	w.awaitState("ann", account.Connected)
	w.checkNumbers("ann")
}

// The connection of a folder that swallows everything is found out and made
// anew, while the others go on.
func TestIdleFolderOnADeadLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll, w.linkTimeout, w.retryCap = never, 3*time.Second, 20*time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	// Connections up to this number get nothing through once they idle on Work.
	var held, made atomic.Int64
	filter := func() linktest.Filter {
		number := made.Add(1)
		var here atomic.Bool
		through := func(line []byte) []byte {
			if here.Load() && number <= held.Load() {
				return nil
			}
			return line
		}
		return linktest.Filter{
			ToClient: through,
			ToServer: func(line []byte) []byte {
				here.CompareAndSwap(false, strings.Contains(string(line), "EXAMINE") && strings.Contains(string(line), "Work"))
				return through(line)
			},
		}
	}
	link := linktest.New(t, s.listener.Addr().String(), filter)
	w.register("ann", "127.0.0.1", link.Port(), "ann", "secret")
	w.idleOn("ann", "Work")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("Work", "one")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	// The new connection gets through, since only old ones are held.
	held.Store(int64(link.Accepted()))
	s.deliver("Work", "two")
	w.awaitEvents("ann", event.TypeMessageCreated, 2)
	w.checkNumbers("ann")
}

func TestPostNames(t *testing.T) {
	t.Parallel()
	folders := func(o *owner, names ...string) {
		o.names = map[string]*folderState{}
		for _, name := range names {
			f := &folderState{}
			f.Name, f.Delimiter = name, '.'
			o.names[name] = f
		}
		o.inbox = o.names["INBOX"]
	}
	many := []string{"F0", "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9"}
	for _, tc := range []struct {
		name, host string
		policy     []string
		notify     bool
		want       []string
	}{
		{"named and there", "imap.example.org", []string{"Work/Now", "Gone"}, false, []string{"Work.Now"}},
		{"INBOX has one", "imap.example.org", []string{"INBOX"}, false, nil},
		{"excluded", "imap.example.org", []string{"Junk"}, false, nil},
		{"what is below is not meant", "imap.example.org", []string{"Work"}, false, nil},
		{"told of by NOTIFY", "imap.example.org", []string{"Work/Now"}, true, nil},
		{"all that are named", "imap.example.org", many, false, many},
		{"as many as Gmail allows", "imap.gmail.com", many, false, many},
		{"as many as iCloud allows", "imap.mail.me.com", many, false, many[:2]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := &owner{account: &account.Account{IMAP: account.Endpoint{Host: tc.host}}}
			o.account.Watch.IdleFolders = tc.policy
			o.notify.on = tc.notify
			folders(o, append([]string{"INBOX", "Work.Now", "Junk"}, many...)...)
			o.names["Junk"].excluded = true
			if got := o.postNames(); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
