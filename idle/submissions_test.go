package idle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/submit"
)

// outbox is the store of a world, which can be made to fail.
type outbox struct {
	*submit.Store
	w *world
	// failTold makes so many attempts fail to note what was told.
	failTold atomic.Int32
}

func newOutbox(w *world) *outbox {
	w.t.Helper()
	store, err := submit.OpenStore(w.t.Context(), w.js, 1, submit.Bounds{})
	if err != nil {
		w.t.Fatal(err)
	}
	o := &outbox{Store: store, w: w}
	w.submissions = o
	return o
}

// Told implements Submissions.
func (o *outbox) Told(ctx context.Context, account, id string, number int) error {
	if o.failTold.Add(-1) >= 0 {
		return errors.New("it was not noted")
	}
	return o.Store.Told(ctx, account, id, number)
}

// submit puts a message into the outbox that is not sent, as nobody runs it.
func (o *outbox) submit(account string) *submit.Submission {
	o.w.t.Helper()
	made, err := o.Create(o.w.t.Context(), &submit.Submission{
		ID: submit.NewID(time.Now()), Account: account, From: "ann@example.com", MessageID: "1@example.com", Save: submit.SaveNever,
		Recipients: []submit.Recipient{{Address: "bob@example.com"}},
	}, time.Hour, func(w io.Writer, _ *submit.Submission) error {
		_, err := io.WriteString(w, "Subject: Hi\r\n\r\nHello\r\n")
		return err
	})
	if err != nil {
		o.w.t.Fatal(err)
	}
	return made
}

func (o *outbox) cancel(s *submit.Submission) {
	o.w.t.Helper()
	if _, err := o.Cancel(o.w.t.Context(), s.Account, s.ID); err != nil {
		o.w.t.Fatal(err)
	}
}

var submissionTypes = []event.Type{
	event.TypeSubmissionQueued, event.TypeSubmissionSent, event.TypeSubmissionDeferred, event.TypeSubmissionFailed,
	event.TypeSubmissionUncertain, event.TypeSubmissionCanceled,
}

// awaitTold waits until the events of an account's submissions are as wanted, in
// their order.
func (w *world) awaitTold(id string, want ...string) {
	w.t.Helper()
	var got []string
	w.await(fmt.Sprintf("the events %v of submissions", want), func() bool {
		got = nil
		for _, ev := range w.events(id, submissionTypes...) {
			told, number := ev.Data.(interface{ Told() (string, uint64) }).Told()
			got = append(got, fmt.Sprintf("%s %d %s", told, number, ev.Type))
		}
		return len(got) >= len(want)
	})
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Fatalf("told of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.checkNumbers(id)
}

func told(s *submit.Submission, number int, t event.Type) string {
	return fmt.Sprintf("%s %d %s", s.ID, number, t)
}

func TestSubmissionsAreToldInTheAccountsOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w)
	server, username := w.mailbox("ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	one := o.submit("ann")
	w.awaitTold("ann", told(one, 1, event.TypeSubmissionQueued))
	o.cancel(one)
	server.Deliver(t, username, "INBOX", mail("meanwhile"))
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	first := []string{told(one, 1, event.TypeSubmissionQueued), told(one, 2, event.TypeSubmissionCanceled)}
	w.awaitTold("ann", first...)
	// What happens while nobody watches is told by whoever comes next, and what was
	// told is not told again.
	stop()
	two := o.submit("ann")
	w.start()
	w.awaitTold("ann", append(first, told(two, 1, event.TypeSubmissionQueued))...)
}

// closedPort is a port of loopback on which nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// setPaused pauses an account or resumes it.
func (w *world) setPaused(id string, paused bool) {
	w.t.Helper()
	_, err := w.accounts.Update(w.t.Context(), id, "", func(a *account.Account) error {
		a.Paused = paused
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestSubmissionsAreToldWhileTheMailServerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w)
	w.register("ann", "127.0.0.1", closedPort(t), "ann", "x")
	w.start()
	w.awaitState("ann", account.Failed)
	one := o.submit("ann")
	w.awaitTold("ann", told(one, 1, event.TypeSubmissionQueued))
}

func TestSubmissionsOfAPausedAccountAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w)
	w.mailbox("ann")
	w.setPaused("ann", true)
	stop := w.start()
	w.awaitEvents("ann", event.TypeAccountPaused, 1)
	one := o.submit("ann")
	w.awaitTold("ann", told(one, 1, event.TypeSubmissionQueued))
	stop()
	w.start()
	o.cancel(one)
	w.awaitTold("ann", told(one, 1, event.TypeSubmissionQueued), told(one, 2, event.TypeSubmissionCanceled))
	if n := len(w.events("ann", event.TypeAccountPaused)); n != 1 {
		t.Errorf("the account was paused once and that was told %d times", n)
	}
	w.setPaused("ann", false)
	w.awaitEvents("ann", event.TypeAccountResumed, 1)
	w.awaitState("ann", account.Connected)
}

// What was told and not noted is known by the log alone.
func TestSubmissionsAreToldOnceThoughThatIsNotNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w)
	w.mailbox("ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	o.failTold.Store(3)
	one := o.submit("ann")
	want := []string{told(one, 1, event.TypeSubmissionQueued)}
	w.awaitTold("ann", want...)
	w.await("it to be noted", func() bool {
		untold, err := o.Untold(t.Context(), "ann", nil, 1)
		return err == nil && len(untold) == 0
	})
	w.awaitTold("ann", want...)
	// The same across a restart.
	o.failTold.Store(1 << 30)
	o.cancel(one)
	want = append(want, told(one, 2, event.TypeSubmissionCanceled))
	w.awaitTold("ann", want...)
	stop()
	o.failTold.Store(0)
	w.start()
	w.awaitState("ann", account.Connected)
	w.await("it to be noted", func() bool {
		untold, err := o.Untold(t.Context(), "ann", nil, 1)
		return err == nil && len(untold) == 0
	})
	w.awaitTold("ann", want...)
}

func TestSubmissionsEndWithTheirAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := newOutbox(w)
	w.mailbox("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	one := o.submit("ann")
	w.awaitTold("ann", told(one, 1, event.TypeSubmissionQueued))
	if err := w.accounts.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	w.awaitEvents("ann", event.TypeAccountDeleted, 1)
	w.await("the submission to be forgotten", func() bool {
		_, err := o.Get(t.Context(), "ann", one.ID)
		return errors.Is(err, submit.ErrNotFound)
	})
}
