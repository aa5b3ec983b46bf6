package eventlog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func TestList(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{})
	ann, bob := writer(t, l, "ann"), writer(t, l, "bob")
	for i := range 10 { // sequences: ann 3i+1, bob 3i+2, ann 3i+3
		mustAppend(t, ann, arrived("ann", i+1, 1)...)
		mustAppend(t, bob, arrived("bob", i+1, 1)...)
		mustAppend(t, ann, connected("ann", uint64(i)))
	}
	many := make([]string, 80)
	for i := range many {
		many[i] = fmt.Sprintf("x%d", i)
	}
	tests := []struct {
		name   string
		filter eventlog.Filter
		limit  int
		want   []uint64 // sequences of each page
		next   []uint64 // the cursors after each page
	}{
		{"everything", eventlog.Filter{}, 20, []uint64{20, 10}, []uint64{20, 30}},
		{"an account", eventlog.Filter{Accounts: []string{"bob"}}, 8, []uint64{8, 2}, []uint64{23, 30}},
		{"a type", eventlog.Filter{Types: []event.Type{event.TypeAccountConnected}}, 100, []uint64{10}, []uint64{30}},
		{"both", eventlog.Filter{Accounts: []string{"ann"}, Types: []event.Type{event.TypeMessageCreated}}, 9, []uint64{9, 1}, []uint64{25, 30}},
		{"two of each, one matching", eventlog.Filter{
			Accounts: []string{"bob", "bob", "carl"}, Types: []event.Type{event.TypeMessageCreated, event.TypeMessageDeleted},
		}, 100, []uint64{10}, []uint64{30}},
		{"nobody's", eventlog.Filter{Accounts: []string{"carl"}}, 10, []uint64{0}, []uint64{30}},
		{"an account that cannot be", eventlog.Filter{Accounts: []string{"*"}}, 10, []uint64{0}, []uint64{30}},
		{"too many subjects, by type", eventlog.Filter{Accounts: append(many, "bob"), Types: []event.Type{event.TypeMessageCreated}}, 8, []uint64{8, 2}, []uint64{23, 30}},
		{"too many subjects, by account", eventlog.Filter{Accounts: append(many[:20:20], "ann"), Types: event.Types()[:5]}, 9, []uint64{9, 1}, []uint64{25, 30}},
		{"too many accounts", eventlog.Filter{Accounts: append(many, "ann")}, 100, []uint64{20}, []uint64{30}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cursor := eventlog.Cursor{}
			for page := range tt.want {
				entries, next, err := l.List(testContext(t), tt.filter, cursor, tt.limit)
				if err != nil {
					t.Fatal(err)
				}
				if uint64(len(entries)) != tt.want[page] || next.Sequence() != tt.next[page] {
					t.Fatalf("page %d has %d entries and leads to %d, want %d and %d",
						page, len(entries), next.Sequence(), tt.want[page], tt.next[page])
				}
				for _, e := range entries {
					if !tt.filter.Match(e) {
						t.Errorf("%s of %s is not what was asked for", e.Type, e.Account)
					}
					if e.Cursor.Compare(cursor) <= 0 {
						t.Errorf("entry %d comes after %d", e.Sequence(), cursor.Sequence())
					}
					cursor = e.Cursor
				}
				cursor = next
			}
			entries, next, err := l.List(testContext(t), tt.filter, cursor, tt.limit)
			if err != nil || len(entries) != 0 || next != cursor {
				t.Errorf("after the end: %d entries, %v, %v", len(entries), next, err)
			}
		})
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	w := writer(t, l, "ann")
	oldest, head, err := l.Ends(testContext(t))
	if err != nil || oldest != head || head.Sequence() != 0 {
		t.Fatalf("ends of an empty log: %v, %v, %v", oldest, head, err)
	}
	if entries, next, err := l.List(testContext(t), eventlog.Filter{}, head, 10); err != nil || len(entries) != 0 || next != head {
		t.Fatalf("an empty log lists %v, %v, %v", entries, next, err)
	}
	mustAppend(t, w, arrived("ann", 1, 10)...)
	afterFour, err := eventlog.ParseCursor(listOne(t, l, 4))
	if err != nil || afterFour.Sequence() != 4 {
		t.Fatalf("cursor = %v, %v", afterFour, err)
	}

	stream, err := js.Stream(testContext(t), eventlog.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(testContext(t), jetstream.WithPurgeSequence(6)); err != nil { // what retention does
		t.Fatal(err)
	}
	wantExpired := func(l *eventlog.Log, c eventlog.Cursor, oldest, head uint64) {
		t.Helper()
		_, _, listErr := l.List(testContext(t), eventlog.Filter{}, c, 10)
		_, watchErr := l.Watch(testContext(t), eventlog.Filter{}, c)
		for _, err := range []error{listErr, watchErr} {
			expired := (*eventlog.CursorExpiredError)(nil)
			if !errors.As(err, &expired) || expired.Oldest.Sequence() != oldest || expired.Head.Sequence() != head {
				t.Errorf("cursor %d: %v, want *CursorExpiredError from %d to %d", c.Sequence(), err, oldest, head)
			}
		}
	}
	wantExpired(l, afterFour, 5, 10)
	if entries, _, err := l.List(testContext(t), eventlog.Filter{}, eventlog.Cursor{}, 10); err != nil || len(entries) != 5 {
		t.Errorf("the zero cursor gives %d entries, %v, want the 5 that are left", len(entries), err)
	}
	head, err = l.Head(testContext(t))
	if err != nil {
		t.Fatal(err)
	}

	// A stream that is made anew counts from one again; no old cursor may be
	// taken for one of it.
	if err := js.DeleteStream(testContext(t), eventlog.StreamName); err != nil {
		t.Fatal(err)
	}
	anew := open(t, js, eventlog.Config{})
	mustAppend(t, writer(t, anew, "ann"), arrived("ann", 1, 20)...)
	wantExpired(anew, head, 0, 20)
	if anew.Incarnation() == l.Incarnation() {
		t.Error("two streams have one incarnation")
	}
	reopened := open(t, js, eventlog.Config{MaxAge: time.Hour})
	if reopened.Incarnation() != anew.Incarnation() {
		t.Error("opening the log again changed its incarnation")
	}
}

func listOne(t *testing.T, l *eventlog.Log, limit int) string {
	t.Helper()
	_, next, err := l.List(testContext(t), eventlog.Filter{}, eventlog.Cursor{}, limit)
	if err != nil {
		t.Fatal(err)
	}
	return next.String()
}

func TestReplayPages(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{})
	w := writer(t, l, "ann")
	mustAppend(t, w, arrived("ann", 1, 1100)...)
	mustAppend(t, writer(t, l, "bob"), arrived("bob", 1, 10)...)
	wantGapless(t, replayed(t, l, "ann"), 1100)

	stop := errors.New("enough")
	n := 0
	head, err := l.Replay(testContext(t), "ann", eventlog.Head{Sequence: 600, Number: 600}, func(*eventlog.Entry) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || head != (eventlog.Head{Sequence: 602, Number: 602}) {
		t.Errorf("a replay that was stopped: %+v, %v", head, err)
	}
	ev, err := replayed(t, l, "bob")[3].Event()
	if err != nil || ev.Number != 4 || ev.Checkpoint.UID != 4 {
		t.Errorf("event = %+v, %v", ev, err)
	}
	if _, ok := ev.Data.(*event.MessageCreated); !ok {
		t.Errorf("data = %T", ev.Data)
	}
}

// TestReplayAfterTheStreamWasMadeAnew: numbers go on where the account was, at
// sequences that begin again; nothing of it may be taken for known.
func TestReplayAfterTheStreamWasMadeAnew(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	w := writer(t, l, "ann")
	mustAppend(t, w, arrived("ann", 1, 30)...)
	snapshot := w.Head()
	if err := js.DeleteStream(testContext(t), eventlog.StreamName); err != nil {
		t.Fatal(err)
	}
	l = open(t, js, eventlog.Config{})
	w, err := l.Writer(testContext(t), "ann", snapshot.Number)
	if err != nil {
		t.Fatal(err)
	}
	replay := func() (numbers []uint64, err error) {
		_, err = l.Replay(testContext(t), "ann", snapshot, func(e *eventlog.Entry) error {
			numbers = append(numbers, e.Number)
			return nil
		})
		return numbers, err
	}
	mustAppend(t, w, arrived("ann", 31, 2)...)
	if numbers, err := replay(); err != nil || !slices.Equal(numbers, []uint64{31, 32}) {
		t.Errorf("replayed %v, %v, want 31 and 32", numbers, err)
	}
	mustAppend(t, w, arrived("ann", 33, 40)...)
	gap := (*eventlog.GapError)(nil)
	if numbers, err := replay(); !errors.As(err, &gap) {
		t.Errorf("replayed %v, %v, want *GapError: sequence 30 is event 60 now", numbers, err)
	}
}

// TestForeignMessages: what somebody else puts into the stream does not stop
// the reading.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	mustAppend(t, writer(t, l, "ann"), arrived("ann", 1, 1)...)
	if _, err := js.Publish(testContext(t), event.Subject("bob", event.TypeMessageCreated), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, writer(t, l, "ann"), arrived("ann", 2, 1)...)
	entries, next, err := l.List(testContext(t), eventlog.Filter{}, eventlog.Cursor{}, 10)
	if err != nil || len(entries) != 2 || next.Sequence() != 3 {
		t.Fatalf("%d entries up to %d, %v", len(entries), next.Sequence(), err)
	}
	if !slices.ContainsFunc(entries, func(e *eventlog.Entry) bool { return json.Valid(e.Body) && e.Number == 2 }) {
		t.Error("event 2 is missing")
	}
	foreign := (*eventlog.ForeignEntryError)(nil)
	if _, err := l.Writer(testContext(t), "bob", 0); !errors.As(err, &foreign) {
		t.Errorf("a writer upon a foreign head: %v, want *ForeignEntryError", err)
	}
}
