package idle

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
)

// A server that accepts IDLE and never tells of mail is found out, said to be
// so, and forgiven when it tells again. No mail is lost meanwhile.
func TestIdleThatDoesNotPush(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("shows mail by SELECT only: ", deaf), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.pushGrace = time.Nanosecond
			s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
			s.mute, s.deaf = true, deaf
			s.register(w, "ann")
			w.start()
			w.awaitState("ann", account.Connected)
			n := 0
			deliver := func() {
				n++
				s.deliver("INBOX", fmt.Sprint("number ", n))
				w.awaitEvents("ann", event.TypeMessageCreated, n)
			}
			deliver()
			deliver()
			a := w.awaitState("ann", account.Degraded)
			for _, want := range []string{"idle not pushing", "poll_interval"} {
				if !strings.Contains(a.Status.Detail, want) {
					t.Errorf("the detail is %q, want it to say %q", a.Status.Detail, want)
				}
			}
			degraded := w.awaitEvents("ann", event.TypeAccountDegraded, 1)[0].Data.(*event.AccountDegraded)
			if degraded.Reason != "IDLE_NOT_PUSHING" {
				t.Errorf("the reason is %s", degraded.Reason)
			}
			deliver()
			s.change(func() { s.mute, s.deaf = false, false })
			w.await("the server to be forgiven", func() bool {
				deliver()
				a, err := w.accounts.Get(t.Context(), "ann")
				return err == nil && a.Status.State == account.Connected && a.Status.Detail == ""
			})
			w.checkNumbers("ann")
		})
	}
}

// A server that tells of mail before it can be fetched is no liar, nor is one
// whose mail is found in the moment before it would have told.
func TestHonestServersAreNotAccused(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]time.Duration{"lag": time.Nanosecond, "a moment": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.pushGrace = grace
			s := newFakeIMAP(t, "IDLE", "INBOX")
			s.mute = name == "a moment"
			hidden := 0
			s.answer = func(c *fakeConn, command string) bool {
				tag, _, fetch := strings.Cut(command, " UID FETCH ")
				if !fetch || hidden == 0 {
					return false
				}
				hidden-- // told of, and not there yet
				c.say("%s OK done", tag)
				return true
			}
			s.register(w, "ann")
			w.start()
			w.awaitState("ann", account.Connected)
			for i := range 6 {
				if name == "lag" {
					s.change(func() { hidden = 1 })
				}
				s.deliver("INBOX", fmt.Sprint("number ", i))
				w.awaitEvents("ann", event.TypeMessageCreated, i+1)
			}
			if degraded := w.events("ann", event.TypeAccountDegraded); len(degraded) > 0 {
				t.Errorf("the server was accused: %+v", degraded[0].Data)
			}
		})
	}
}

// Folders other than INBOX that change often are asked after more often than the
// rest, and never is one asked after less often than promised.
func TestBusyFoldersAreAskedAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll = time.Hour
	s := newFakeIMAP(t, "IDLE", "INBOX", "Busy", "Quiet")
	s.register(w, "ann")
	_, err := w.accounts.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.Watch.PollInterval = time.Second
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 8 {
		s.deliver("Busy", fmt.Sprint("number ", i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
	// Without LIST-STATUS a poll asks after both, so what Busy has in advance was
	// asked for in between.
	busy, quiet := s.count("STATUS Busy"), s.count("STATUS Quiet")
	if busy <= quiet {
		t.Errorf("the busy folder was asked after %d times, the quiet one %d times", busy, quiet)
	}
	w.checkNumbers("ann")
}

// Where it is known that a server's NOOP shows nothing, INBOX is opened anew each
// time that it is looked at.
func TestProviderWhoseNoopShowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll, w.linkTimeout = never, 2*time.Second
	s := newFakeIMAP(t, "", "INBOX")
	s.deaf = true
	w.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.listener.Addr().String())
	}
	w.register("ann", "imap.163.com", 143, "ann", "secret")
	w.start()
	w.awaitState("ann", account.Connected)
	for i := range 2 {
		s.deliver("INBOX", fmt.Sprint("number ", i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
}

// A server that has IDLE and does not answer it is watched without.
func TestIdleThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll, w.linkTimeout, w.retryCap = never, 1500*time.Millisecond, 20*time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.answer = func(_ *fakeConn, command string) bool { return strings.HasSuffix(command, " IDLE") }
	s.register(w, "ann")
	w.start()
	a := w.awaitState("ann", account.Degraded)
	if !strings.Contains(a.Status.Detail, "idle not pushing") || !strings.Contains(a.Status.Detail, "does not answer") {
		t.Errorf("the detail is %q", a.Status.Detail)
	}
	asked := s.count("IDLE")
	for i := range 2 {
		s.deliver("INBOX", fmt.Sprint("number ", i))
		w.awaitEvents("ann", event.TypeMessageCreated, i+1)
	}
	if n := s.count("IDLE"); n != asked || n != idleChances {
		t.Errorf("IDLE was asked for %d times, want %d", n, idleChances)
	}
	w.checkNumbers("ann")
}
