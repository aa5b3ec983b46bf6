package idle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/linktest"
)

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	const backoff = 2 * time.Second
	refusal := func(code imap.ResponseCode, text string) error {
		return fmt.Errorf("session: %w", &imapconn.Error{Command: "LIST", Type: "NO", Code: code, Text: text})
	}
	for _, tc := range []struct {
		name        string
		err         error
		least, most time.Duration
	}{
		{"a broken link", &imapconn.NetworkError{Command: "IDLE", Err: net.ErrClosed}, backoff, backoff},
		{"a backend that is down", refusal(imap.ResponseCodeUnavailable, "later"), 30 * time.Second, 45 * time.Second},
		{"a limit", refusal(imap.ResponseCodeLimit, "rate limit hit"), time.Minute, 90 * time.Second},
		{"Microsoft's wish", refusal("", "Request is throttled. Suggested Backoff Time: 120000 milliseconds"), 2 * time.Minute, 3 * time.Minute},
		{"a wish for days", refusal("", "Request is throttled. Suggested Backoff Time: 999999999 milliseconds"), 15 * time.Minute, 23 * time.Minute},
		{"a wish for less", refusal("", "Request is throttled. Suggested Backoff Time: 10 milliseconds"), backoff, backoff},
		{"a wrong password", &imapconn.AuthError{Err: errors.New("no")}, authRetry, authRetry * 3 / 2},
		{"no wrong password", refusal("", "User is authenticated but not connected."), backoff, backoff},
	} {
		for range 100 {
			if got := retryDelay(backoff, tc.err); got < tc.least || got > tc.most {
				t.Errorf("%s: wait %s, want from %s to %s", tc.name, got, tc.least, tc.most)
			}
		}
	}
}

// Credentials that are refused are not tried again, whatever form the refusal
// has; and what looks like one and is none does not stop anything.
func TestWhatStopsAnAccount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		answer func(c *fakeConn, tag, command string) bool
		want   account.State
	}{
		{"AUTHENTICATIONFAILED", func(c *fakeConn, tag, command string) bool {
			if !strings.HasPrefix(command, "LOGIN") {
				return false
			}
			c.say("%s NO [AUTHENTICATIONFAILED] wrong", tag)
			return true
		}, account.AuthRequired},
		{"authenticated but not connected", func(c *fakeConn, tag, command string) bool {
			if !strings.HasPrefix(command, "LIST") {
				return false
			}
			c.say("%s BAD User is authenticated but not connected.", tag)
			return true
		}, account.Failed},
		{"a login that is accepted and dropped", func(c *fakeConn, _, command string) bool {
			if !strings.HasPrefix(command, "LIST") {
				return false
			}
			_ = c.Close()
			return true
		}, account.Failed},
		{"UNAVAILABLE", func(c *fakeConn, tag, command string) bool {
			if !strings.HasPrefix(command, "LOGIN") {
				return false
			}
			c.say("%s NO [UNAVAILABLE] the user database is down", tag)
			return true
		}, account.Connecting},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// What is tried at this pace is tried hundreds of times in a test; what
			// is asked to wait, or has to, once.
			w.retryCap = 10 * time.Millisecond
			s := newFakeIMAP(t, "IDLE", "INBOX")
			ill := true
			s.change(func() {
				s.greeting = "OK"
				s.answer = func(c *fakeConn, line string) bool {
					tag, command, _ := strings.Cut(line, " ")
					return ill && tc.answer(c, tag, command)
				}
			})
			s.register(w, "ann")
			w.start()
			w.await("the state", func() bool {
				a, err := w.accounts.Get(t.Context(), "ann")
				return err == nil && a.Status.State == tc.want && a.Status.Detail != ""
			})
			if tc.want == account.Failed {
				s.change(func() { ill = false })
				w.awaitState("ann", account.Connected)
				return
			}
			other := newFakeIMAP(t, "IDLE", "INBOX")
			other.register(w, "bob")
			w.awaitState("bob", account.Connected)
			w.await("some polls of another account", func() bool { return other.count("LIST") > 5 })
			if n := s.count("LOGIN"); n != 1 {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
}

// A server that throttles what is asked beside INBOX is left alone for as long as
// it takes.
func TestThrottledElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	s.answer = func(c *fakeConn, line string) bool {
		tag, command, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(command, "EXAMINE Work") {
			return false
		}
		c.say("%s NO [LIMIT] Rate limit hit", tag)
		return true
	}
	s.register(w, "ann")
	w.start()
	a := w.awaitState("ann", account.Degraded)
	if !strings.Contains(a.Status.Detail, "Rate limit hit") {
		t.Errorf("the detail is %q", a.Status.Detail)
	}
	tried, polls := s.count("EXAMINE Work"), s.count("LIST")
	s.deliver("INBOX", "still watched")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	w.await("further polls", func() bool { return s.count("LIST") > polls+5 })
	if n := s.count("EXAMINE Work"); n != tried {
		t.Errorf("the server was asked %d times more", n-tried)
	}
}

// stormAccounts come back at once to a server that counts, which allows
// stormLogins a second. How the two relate is what matters, so there are few of
// both.
const (
	stormAccounts = 200
	stormLogins   = 50
)

// Accounts that lose their server together come back at the pace that the host's
// budget allows, and not one of them is left out.
func TestStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.quiet, w.poll, w.retryCap = true, never, 50*time.Millisecond
	w.limits = imapconn.NewHostLimits(0, stormLogins)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	s.greeting = "OK"
	var mu sync.Mutex
	var logins []time.Time
	s.answer = func(_ *fakeConn, line string) bool {
		if strings.Contains(line, " LOGIN ") {
			mu.Lock()
			logins = append(logins, time.Now())
			mu.Unlock()
		}
		return false
	}
	counted := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(logins)
	}
	for i := range stormAccounts {
		s.register(w, fmt.Sprint("user", i))
	}
	w.start()
	idling := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for c := range s.conns {
			if c.idle != "" {
				n++
			}
		}
		return n == stormAccounts
	}
	w.await("all to idle", idling)
	before := counted()
	s.change(func() {
		for c := range s.conns {
			_ = c.Close()
		}
	})
	w.await("all to come back", func() bool { return counted() >= before+stormAccounts && idling() })
	mu.Lock()
	defer mu.Unlock()
	slices.SortFunc(logins, time.Time.Compare)
	// The bound is kept where logins are sent (TestTurns); a busy machine gathers
	// some until they are counted.
	const most = stormLogins * 5 / 4
	for i := most; i < len(logins); i++ {
		if apart := logins[i].Sub(logins[i-most]); apart < time.Second {
			t.Fatalf("%d logins within %s", most+1, apart)
		}
	}
	t.Logf("%d logins in %s", len(logins), logins[len(logins)-1].Sub(logins[0]))
}

// A link that swallows everything while it looks alive is found out by asking,
// on the watching connection as on those of requests.
func TestDeadLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.poll, w.linkTimeout, w.retryCap = never, 3*time.Second, 50*time.Millisecond
	s := newFakeIMAP(t, "IDLE", "INBOX", "Work")
	link := linktest.New(t, s.listener.Addr().String(), nil)
	w.register("ann", "127.0.0.1", link.Port(), "ann", "secret")
	w.start()
	w.awaitState("ann", account.Connected)
	s.deliver("INBOX", "before")
	w.awaitEvents("ann", event.TypeMessageCreated, 1)
	began := time.Now()
	link.Freeze()
	s.deliver("INBOX", "into the void")
	w.await("the link to be found dead", func() bool {
		a, err := w.accounts.Get(t.Context(), "ann")
		return err == nil && a.Status.State != account.Connected
	})
	t.Logf("found after %s, with a link timeout of %s", time.Since(began), w.linkTimeout)
	link.Thaw()
	wantSubjects(t, w.awaitEvents("ann", event.TypeMessageCreated, 2), "before", "into the void")
	w.checkNumbers("ann")
}

// The same for a request connection, which had proved to be alive.
func TestDeadRequestLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newFakeIMAP(t, "IDLE", "INBOX")
	link := linktest.New(t, s.listener.Addr().String(), nil)
	w.register("ann", "127.0.0.1", link.Port(), "ann", "secret")
	connector := account.NewConnector(account.ConnectorConfig{Registry: w.accounts, LinkTimeout: 1500 * time.Millisecond})
	t.Cleanup(connector.Close)
	ask := func() error {
		return connector.Do(t.Context(), "ann", "", nil, func(c *imapconn.Conn) error { return c.Noop(context.Background()) })
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	link.Freeze()
	var silence *imapconn.TimeoutError
	if err := ask(); !errors.As(err, &silence) {
		t.Errorf("error %v", err)
	}
	link.Thaw()
	if err := ask(); err != nil {
		t.Error(err)
	}
}
