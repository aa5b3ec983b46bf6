package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func watch(t testing.TB, l *eventlog.Log, f eventlog.Filter, after eventlog.Cursor) *eventlog.Subscription {
	t.Helper()
	s, err := l.Watch(testContext(t), f, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// nextEntry skips frames without an entry.
func nextEntry(ctx context.Context, s *eventlog.Subscription) (*eventlog.Entry, error) {
	for {
		frame, err := s.Next(ctx)
		if err != nil || frame.Entry != nil {
			return frame.Entry, err
		}
	}
}

func wantNumbers(t testing.TB, s *eventlog.Subscription, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		e, err := nextEntry(testContext(t), s)
		if err != nil {
			t.Fatalf("waiting for event %d: %v", n, err)
		}
		if e.Number != uint64(n) {
			t.Fatalf("event %d came, want %d", e.Number, n)
		}
	}
}

func head(t testing.TB, l *eventlog.Log) eventlog.Cursor {
	t.Helper()
	c, err := l.Head(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWatchersJoinAnywhere: while accounts append, watchers begin at random
// moments from random cursors with random filters. Each sees what it chose
// behind its cursor, once and in order.
func TestWatchersJoinAnywhere(t *testing.T) {
	t.Parallel()
	const accounts, events, watchers = 10, 60, 40
	l := newLog(t, eventlog.Config{Backlog: 2 * accounts * events, Heartbeat: 100 * time.Millisecond})
	var writers sync.WaitGroup
	for i := range accounts {
		writers.Go(func() {
			account := fmt.Sprintf("acc%d", i)
			w, err := l.Writer(testContext(t), account, 0)
			for n := 1; n <= events && err == nil; {
				size := min(1+rand.IntN(20), events-n+1)
				_, err = w.Append(testContext(t), arrived(account, n, size)...)
				n += size
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	const total = accounts * events
	seen := make([][]*eventlog.Entry, watchers)
	filters := make([]eventlog.Filter, watchers)
	starts := make([]uint64, watchers)
	var group sync.WaitGroup
	for i := range watchers {
		if i%2 == 1 {
			filters[i].Accounts = []string{fmt.Sprintf("acc%d", i%accounts)}
		}
		group.Go(func() {
			ctx := testContext(t)
			// A random moment: when the log has so many events.
			moment := uint64(rand.IntN(total * 9 / 10))
			var now eventlog.Cursor
			for now.Sequence() < moment {
				var err error
				if now, err = l.Head(ctx); err != nil {
					t.Error(err)
					return
				}
			}
			var from eventlog.Cursor
			switch i % 3 {
			case 0: // from the beginning
			case 1:
				from = now
			case 2:
				_, middle, err := l.List(ctx, eventlog.Filter{}, from, int(now.Sequence()/2)+1)
				if err != nil {
					t.Error(err)
					return
				}
				from = middle
			}
			starts[i] = from.Sequence()
			s, err := l.Watch(ctx, filters[i], from)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for s.Cursor().Sequence() < total {
				frame, err := s.Next(ctx)
				if err != nil {
					t.Errorf("watcher %d at %d: %v", i, s.Cursor().Sequence(), err)
					return
				}
				if frame.Entry != nil {
					seen[i] = append(seen[i], frame.Entry)
				}
			}
		})
	}
	writers.Wait()
	group.Wait()
	if t.Failed() {
		return
	}
	all, next, err := l.List(testContext(t), eventlog.Filter{}, eventlog.Cursor{}, eventlog.MaxPage)
	if err != nil || len(all) != total || next.Sequence() != total {
		t.Fatalf("the log has %d events up to %d, %v", len(all), next.Sequence(), err)
	}
	for i := range watchers {
		var want []uint64
		for _, e := range all {
			if e.Sequence() > starts[i] && filters[i].Match(e) {
				want = append(want, e.Sequence())
			}
		}
		var got []uint64
		for _, e := range seen[i] {
			got = append(got, e.Sequence())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("watcher %d from %d (-want +got):\n%s", i, starts[i], diff)
		}
	}
}

func TestFirstFrameComesAtOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{Heartbeat: time.Hour})
	mustAppend(t, writer(t, l, "ann"), arrived("ann", 1, 3)...)
	from := head(t, l)
	frame, err := watch(t, l, eventlog.Filter{}, from).Next(testContext(t))
	if err != nil || frame.Entry != nil || frame.Cursor != from {
		t.Errorf("first frame = %+v, %v, want the cursor %s alone", frame, err, from)
	}
}

func TestHeartbeatMovesPastFilteredEvents(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{Heartbeat: 20 * time.Millisecond})
	w := writer(t, l, "ann")
	for name, from := range map[string]eventlog.Cursor{"live": head(t, l), "from the past": {}} {
		s := watch(t, l, eventlog.Filter{Accounts: []string{"bob"}}, from)
		mustAppend(t, w, arrived("ann", int(w.Head().Number)+1, 5)...)
		for s.Cursor().Sequence() < w.Head().Sequence {
			frame, err := s.Next(testContext(t))
			if err != nil || frame.Entry != nil {
				t.Fatalf("%s: frame %+v, %v", name, frame, err)
			}
			if frame.Cursor != s.Cursor() {
				t.Fatalf("%s: the frame's cursor is %v, the subscription's %v", name, frame.Cursor, s.Cursor())
			}
		}
	}
}

func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{Backlog: 10})
	w := writer(t, l, "ann")
	slow := watch(t, l, eventlog.Filter{}, eventlog.Cursor{})
	quick := watch(t, l, eventlog.Filter{}, eventlog.Cursor{})
	mustAppend(t, w, arrived("ann", 1, 1)...)
	wantNumbers(t, slow, 1, 1) // and is live by now or will be
	wantNumbers(t, quick, 1, 1)
	live, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := nextEntry(live, slow); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for n := 2; n <= 30; n++ {
		mustAppend(t, w, arrived("ann", n, 1)...)
		wantNumbers(t, quick, n, n)
	}
	wantNumbers(t, slow, 2, 11) // what was kept for it
	_, err := nextEntry(testContext(t), slow)
	tooSlow := (*eventlog.SlowConsumerError)(nil)
	if !errors.As(err, &tooSlow) {
		t.Fatalf("the slow watcher got %v, want *SlowConsumerError", err)
	}
	wantNumbers(t, watch(t, l, eventlog.Filter{}, tooSlow.Cursor), 12, 30)
}

// TestOneConsumer: however many watch, the server has one consumer for them,
// and none when the last has left.
func TestOneConsumer(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	w := writer(t, l, "ann")
	for round := range 2 {
		var subscriptions []*eventlog.Subscription
		for range 50 {
			subscriptions = append(subscriptions, watch(t, l, eventlog.Filter{}, head(t, l)))
		}
		mustAppend(t, w, arrived("ann", round+1, 1)...)
		for _, s := range subscriptions {
			wantNumbers(t, s, round+1, round+1)
		}
		waitForConsumers(t, js, 1)
		for _, s := range subscriptions {
			s.Close()
			s.Close()
		}
		waitForConsumers(t, js, 0)
	}
	if _, err := watch(t, l, eventlog.Filter{}, eventlog.Cursor{}).Next(testContext(t)); err != nil {
		t.Errorf("a watcher after the last had left: %v", err)
	}
}

func waitForConsumers(t *testing.T, js jetstream.JetStream, want int) {
	t.Helper()
	ctx := testContext(t)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		stream, err := js.Stream(ctx, eventlog.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Consumers; got == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the stream has %d consumers, want %d", stream.CachedInfo().State.Consumers, want)
		}
	}
}

func TestCloseEndsWatchers(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{})
	s := watch(t, l, eventlog.Filter{}, eventlog.Cursor{})
	result := make(chan error, 1)
	go func() {
		_, err := nextEntry(testContext(t), s)
		result <- err
	}()
	l.Close()
	if err := <-result; !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("a watcher of a closed log: %v, want ErrClosed", err)
	}
	if _, err := l.Watch(testContext(t), eventlog.Filter{}, eventlog.Cursor{}); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("watching a closed log: %v, want ErrClosed", err)
	}
}

// TestWatchSurvivesLostMessages: the connection breaks just when an event is
// under way, which the server then does not send again.
func TestWatchSurvivesLostMessages(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, natsd.Config{})
	p := newProxy(t, s.Addr())
	watched := open(t, connect(t, s, p.addr()), eventlog.Config{})
	w := writer(t, open(t, connect(t, s, ""), eventlog.Config{}), "ann")
	sub := watch(t, watched, eventlog.Filter{}, eventlog.Cursor{})
	mustAppend(t, w, arrived("ann", 1, 1)...)
	wantNumbers(t, sub, 1, 1)
	for n := 2; n <= 4; n++ {
		lost := p.loseNext(fmt.Sprintf(`"subject":"message %d"`, n))
		mustAppend(t, w, arrived("ann", n, 1)...)
		wantNumbers(t, sub, n, n)
		select {
		case <-lost:
		default:
			t.Fatal("the proxy lost nothing")
		}
	}
}

func TestWatchSurvivesServerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := natsdtest.Start(t, natsd.Config{DataDir: dir})
	l := open(t, connect(t, s, ""), eventlog.Config{})
	w := writer(t, l, "ann")
	sub := watch(t, l, eventlog.Filter{}, eventlog.Cursor{})
	mustAppend(t, w, arrived("ann", 1, 3)...)
	wantNumbers(t, sub, 1, 3)
	natsdtest.Stop(t, s)
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: s.Addr()})
	mustAppend(t, w, arrived("ann", 4, 3)...)
	wantNumbers(t, sub, 4, 6)
}

// TestWatchEndsWithTheStream: a stream made anew under the log is another log.
func TestWatchEndsWithTheStream(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	mustAppend(t, writer(t, l, "ann"), arrived("ann", 1, 2)...)
	sub := watch(t, l, eventlog.Filter{}, eventlog.Cursor{})
	wantNumbers(t, sub, 1, 2)
	if err := js.DeleteStream(testContext(t), eventlog.StreamName); err != nil {
		t.Fatal(err)
	}
	anew := open(t, js, eventlog.Config{})
	mustAppend(t, writer(t, anew, "ann"), connected("ann", 0))
	_, err := nextEntry(testContext(t), sub)
	expired := (*eventlog.CursorExpiredError)(nil)
	if !errors.As(err, &expired) {
		t.Fatalf("err = %v, want *CursorExpiredError", err)
	}
	if e, err := nextEntry(testContext(t), watch(t, anew, eventlog.Filter{}, expired.Oldest)); err != nil || e.Type != event.TypeAccountConnected {
		t.Errorf("from the oldest cursor of the new log: %v, %v", e, err)
	}
}
