package idle

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
)

// deadline bounds every wait of these tests; they end much earlier.
const deadline = 90 * time.Second

// world is everything a supervisor needs, on an embedded NATS server of its own.
type world struct {
	t          testing.TB
	js         jetstream.JetStream
	accounts   *account.Registry
	log        *eventlog.Log
	folders    *folder.Registry
	points     *folder.Checkpoints
	moves      *moves.Ledger
	successors *moves.Successors
	poll       time.Duration
	// submissions knows of mail that is sent; nil means that none is.
	submissions Submissions
	// dial makes connections to mail servers; nil is the default.
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// tls is the TLS configuration towards mail servers; nil is the default.
	tls *tls.Config
	// quiet leaves out the owners' log.
	quiet bool
	// linkTimeout, pushGrace and limits are those of the product unless set.
	linkTimeout, pushGrace time.Duration
	limits                 *imapconn.HostLimits
	// retryCap bounds the waits between attempts to connect.
	retryCap time.Duration
	// supervisor is the one that was started last.
	supervisor *Supervisor
	// overflowAfter is how many changes at once are very many; 0 is the default.
	overflowAfter int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return openWorld(t, natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), t.TempDir()+"/secret.key")
}

// openWorld opens what a supervisor needs on a NATS server that there is.
func openWorld(t testing.TB, js jetstream.JetStream, keyFile string) *world {
	t.Helper()
	w := &world{t: t, js: js, poll: 200 * time.Millisecond}
	box, err := secret.OpenFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if w.accounts, err = account.Open(t.Context(), w.js, account.Config{Box: box}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.accounts.Close)
	if w.log, err = eventlog.Open(t.Context(), w.js, eventlog.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.log.Close)
	if w.moves, err = moves.Open(t.Context(), w.js, 1, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.moves.Close)
	if w.successors, err = moves.OpenSuccessors(t.Context(), w.js, 1); err != nil {
		t.Fatal(err)
	}
	bucket, err := folder.OpenBucket(t.Context(), w.js, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.folders, w.points = folder.NewRegistry(bucket), folder.NewCheckpoints(bucket)
	return w
}

// start runs a supervisor until the returned function is called, which waits
// for its end, or the test is over.
func (w *world) start() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	connector := account.NewConnector(account.ConnectorConfig{
		Registry: w.accounts, Dial: w.dial, TLS: w.tls, LinkTimeout: w.linkTimeout, Limits: w.limits,
	})
	logger := slog.New(slog.NewTextHandler(testLog{w.t}, nil))
	if w.quiet {
		logger = nil
	}
	supervisor := New(Config{
		Accounts: w.accounts, Connector: connector, Log: w.log, Folders: w.folders, Checkpoints: w.points, Moves: w.moves, Successors: w.successors,
		Submissions: w.submissions,
		Node:        "test", PollInterval: w.poll, RetryCap: w.retryCap, OverflowAfter: w.overflowAfter, Logger: logger,
		LinkTimeout: w.linkTimeout, pushGrace: w.pushGrace,
	})
	w.supervisor = supervisor
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := supervisor.Run(ctx); err != nil {
			w.t.Errorf("the supervisor ended: %v", err)
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			connector.Close()
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// testLog writes log lines to the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", strings.TrimSpace(string(line)))
	return len(line), nil
}

// register registers a mailbox that speaks plain IMAP on loopback.
func (w *world) register(id, host string, port int, username, password string) *account.Account {
	w.t.Helper()
	a, err := w.accounts.Create(w.t.Context(), &account.Account{
		ID: id, Email: id + "@example.com",
		IMAP: account.Endpoint{
			Host: host, Port: port, TLSMode: account.Plaintext,
			Username: username, Password: secret.New(password),
		},
	}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// mailbox registers a fresh user of the shared Dovecot, whose mailbox is filled
// first.
func (w *world) mailbox(id string, fill ...func(server *dovecottest.Server, username string)) (server *dovecottest.Server, username string) {
	w.t.Helper()
	server = dovecottest.Shared(w.t)
	username, password := server.User(w.t)
	for _, f := range fill {
		f(server, username)
	}
	w.register(id, server.Host(), server.Port(), username, password)
	return server, username
}

// having fills a folder with a message per subject.
func (w *world) having(name string, subjects ...string) func(server *dovecottest.Server, username string) {
	return func(server *dovecottest.Server, username string) {
		for _, subject := range subjects {
			server.Deliver(w.t, username, name, mail(subject))
		}
	}
}

// awaitState waits until the account is in a state.
func (w *world) awaitState(id string, state account.State) *account.Account {
	w.t.Helper()
	var a *account.Account
	w.await(fmt.Sprintf("account %s to be %s", id, state), func() bool {
		var err error
		a, err = w.accounts.Get(w.t.Context(), id)
		return err == nil && a.Status.State == state
	})
	return a
}

// await waits for a condition.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	end := time.Now().Add(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain for %s; the log has:\n%s", what, w.describe())
		}
		<-tick.C
	}
}

// events are an account's events of the given types, all if none is given.
func (w *world) events(id string, types ...event.Type) []event.Event {
	w.t.Helper()
	var (
		events []event.Event
		cursor eventlog.Cursor
	)
	for {
		entries, next, err := w.list(eventlog.Filter{Accounts: []string{id}, Types: types}, cursor)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, entry := range entries {
			ev, err := entry.Event()
			if err != nil {
				w.t.Fatal(err)
			}
			events = append(events, ev)
		}
		if cursor = next; len(entries) < eventlog.MaxPage {
			return events
		}
	}
}

// list is a page of the log, once the server of a broken connection answers.
func (w *world) list(filter eventlog.Filter, after eventlog.Cursor) (entries []*eventlog.Entry, next eventlog.Cursor, err error) {
	for end := time.Now().Add(deadline); ; {
		entries, next, err = w.log.List(w.t.Context(), filter, after, eventlog.MaxPage)
		if err == nil || time.Now().After(end) {
			return entries, next, err
		}
	}
}

// awaitEvents waits until an account has n events of a type and gives them.
func (w *world) awaitEvents(id string, t event.Type, n int) []event.Event {
	w.t.Helper()
	var events []event.Event
	w.await(fmt.Sprintf("%d events %s", n, t), func() bool {
		events = w.events(id, t)
		return len(events) >= n
	})
	if len(events) > n {
		w.t.Fatalf("there are %d events %s, want %d:\n%s", len(events), t, n, w.describe())
	}
	return events
}

// describe lists the whole log, for failures.
func (w *world) describe() string {
	entries, _, err := w.log.List(context.Background(), eventlog.Filter{}, eventlog.Cursor{}, eventlog.MaxPage)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, entry := range entries {
		fmt.Fprintf(&b, "%s\n", entry.Body)
	}
	return b.String()
}

// checkNumbers fails the test if an account's events are not numbered without
// gaps, or an id occurs twice.
func (w *world) checkNumbers(id string) {
	w.t.Helper()
	seen := map[string]bool{}
	for i, ev := range w.events(id) {
		if ev.Number != uint64(i)+1 {
			w.t.Errorf("event %d of account %s has number %d", i+1, id, ev.Number)
		}
		if seen[ev.ID] {
			w.t.Errorf("event %s (%s) is there twice", ev.ID, ev.Type)
		}
		seen[ev.ID] = true
	}
}

// subjects are the subjects of message.created events.
func subjects(events []event.Event) []string {
	list := make([]string, len(events))
	for i, ev := range events {
		list[i] = ev.Data.(*event.MessageCreated).Envelope.Subject
	}
	return list
}

func wantSubjects(t *testing.T, events []event.Event, want ...string) {
	t.Helper()
	if got := subjects(events); !slices.Equal(got, want) {
		t.Errorf("announced %q, want %q", got, want)
	}
}

// mail is a small message.
func mail(subject string) []byte {
	return []byte("From: Bob <bob@example.com>\r\nTo: Ann Lee <ann@example.com>\r\nSubject: " + subject +
		"\r\nDate: Mon, 23 Nov 2026 10:15:00 +0000\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@example.com>\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\nHello, this is " + subject + ".\r\n")
}
