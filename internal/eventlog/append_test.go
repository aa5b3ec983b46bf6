package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		counts []int
	}{
		{"one by one", []int{1, 1, 1}},
		{"in batches", []int{3, 40}},
		{"single, batch, single", []int{1, 10, 1}},
		{"more than a batch holds", []int{1201}},
		{"nothing, then one", []int{0, 1}},
	}
	l := newLog(t, eventlog.Config{})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			account := fmt.Sprintf("a%d", i)
			w := writer(t, l, account)
			total := 0
			for _, count := range tt.counts {
				last, err := w.Append(testContext(t), arrived(account, total+1, count)...)
				if err != nil {
					t.Fatal(err)
				}
				total += count
				if head := w.Head(); head.Number != uint64(total) || head.Sequence != last {
					t.Fatalf("head = %+v after %d events and sequence %d", head, total, last)
				}
			}
			entries := replayed(t, l, account)
			wantGapless(t, entries, total)
			for i, e := range entries {
				want := arrived(account, i+1, 1)[0]
				want.Number = e.Number
				body, err := want.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if string(e.Body) != string(body) || e.ID != want.ID || e.Type != want.Type || *e.Checkpoint != *want.Checkpoint {
					t.Fatalf("entry %d = %+v, want %s", i, e, body)
				}
			}
			if again := writer(t, l, account); again.Head() != w.Head() {
				t.Errorf("a new writer's head is %+v, want %+v", again.Head(), w.Head())
			}
		})
	}
}

// TestRace: of two writers that build upon the same head exactly one wins.
func TestRace(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{})
	for _, size := range []int{1, 20} {
		t.Run(fmt.Sprintf("%d events", size), func(t *testing.T) {
			t.Parallel()
			account := fmt.Sprintf("race%d", size)
			const rounds = 25
			for round := range rounds {
				writers := [2]*eventlog.Writer{writer(t, l, account), writer(t, l, account)}
				var errs [2]error
				var wg sync.WaitGroup
				for i, w := range writers {
					wg.Go(func() {
						// The same facts for both: an id alone would not tell them apart.
						_, errs[i] = w.Append(testContext(t), arrived(account, round*size+1, size)...)
					})
				}
				wg.Wait()
				winner, loser := 0, 1
				if errs[0] != nil {
					winner, loser = 1, 0
				}
				fenced := (*eventlog.FencedError)(nil)
				if errs[winner] != nil || !errors.As(errs[loser], &fenced) {
					t.Fatalf("round %d: errors %v and %v, want one *FencedError", round, errs[0], errs[1])
				}
				if fenced.Actual != writers[winner].Head() {
					t.Errorf("fenced by %+v, want %+v", fenced.Actual, writers[winner].Head())
				}
				broken := (*eventlog.BrokenError)(nil)
				if _, err := writers[loser].Append(testContext(t), connected(account, 0)); !errors.As(err, &broken) {
					t.Fatalf("a fenced writer's next append: %v, want *BrokenError", err)
				}
			}
			wantGapless(t, replayed(t, l, account), rounds*size)
		})
	}
}

// TestManyAccounts: the accounts of a node append at once, singly and in
// batches, and each account's events are whole and in order.
func TestManyAccounts(t *testing.T) {
	t.Parallel()
	const accounts, events = 100, 30
	l := newLog(t, eventlog.Config{})
	var wg sync.WaitGroup
	for i := range accounts {
		wg.Go(func() {
			account := fmt.Sprintf("acc%d", i)
			w, err := l.Writer(testContext(t), account, 0)
			if err != nil {
				t.Error(err)
				return
			}
			for next := 1; next <= events; {
				size := min(1+(i+next)%20, events-next+1)
				if _, err := w.Append(testContext(t), arrived(account, next, size)...); err != nil {
					t.Error(err)
					return
				}
				next += size
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i := range accounts {
		wantGapless(t, replayed(t, l, fmt.Sprintf("acc%d", i)), events)
	}
}

// TestLostAcknowledgement: the server stores an append and its answer is lost
// with the connection. The events are in the log once and the writer goes on.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 20} {
		t.Run(fmt.Sprintf("%d events", size), func(t *testing.T) {
			t.Parallel()
			s := natsdtest.Start(t, natsd.Config{})
			p := newProxy(t, s.Addr())
			l := open(t, connect(t, s, p.addr()), eventlog.Config{AckTimeout: 300 * time.Millisecond})
			w := writer(t, l, "ann")
			mustAppend(t, w, arrived("ann", 1, 2)...)
			lost := p.loseNext(`"stream":"` + eventlog.StreamName + `"`)
			mustAppend(t, w, arrived("ann", 3, size)...)
			select {
			case <-lost:
			default:
				t.Fatal("the proxy lost nothing")
			}
			mustAppend(t, w, arrived("ann", 3+size, 1)...)
			wantGapless(t, replayed(t, l, "ann"), 3+size)
		})
	}
}

// TestServerRestart: the server is away when an append begins, and comes back.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := natsdtest.Start(t, natsd.Config{DataDir: dir})
	js := connect(t, s, "")
	l := open(t, js, eventlog.Config{AckTimeout: 300 * time.Millisecond})
	w := writer(t, l, "ann")
	mustAppend(t, w, arrived("ann", 1, 3)...)
	natsdtest.Stop(t, s)
	result := make(chan error, 1)
	go func() {
		_, err := w.Append(testContext(t), arrived("ann", 4, 3)...)
		result <- err
	}()
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: s.Addr()})
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, arrived("ann", 7, 1)...)
	wantGapless(t, replayed(t, l, "ann"), 7)
}

// TestContextEndsInDoubt: when there is no time to find out what became of an
// append, the writer is done for, and a new one finds out by replaying.
func TestContextEndsInDoubt(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, natsd.Config{})
	l := open(t, connect(t, s, ""), eventlog.Config{AckTimeout: 50 * time.Millisecond})
	w := writer(t, l, "ann")
	mustAppend(t, w, arrived("ann", 1, 1)...)
	natsdtest.Stop(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := w.Append(ctx, arrived("ann", 2, 1)...); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("append without a server: %v, want the deadline", err)
	}
	broken := (*eventlog.BrokenError)(nil)
	if _, err := w.Append(t.Context(), arrived("ann", 3, 1)...); !errors.As(err, &broken) {
		t.Fatalf("append after doubt: %v, want *BrokenError", err)
	}
}

// TestRetentionTookTheHead: numbers go on when none of the account's events is
// left, for a writer that lived through it and for a new one.
func TestRetentionTookTheHead(t *testing.T) {
	t.Parallel()
	js := connect(t, natsdtest.Start(t, natsd.Config{}), "")
	l := open(t, js, eventlog.Config{})
	w := writer(t, l, "ann")
	mustAppend(t, w, arrived("ann", 1, 3)...)
	forget := func() {
		t.Helper()
		stream, err := js.Stream(testContext(t), eventlog.StreamName)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(testContext(t), jetstream.WithPurgeSubject(event.SubjectOfAccount("ann"))); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	mustAppend(t, w, arrived("ann", 4, 1)...)
	if entries := replayed(t, l, "ann"); len(entries) != 1 || entries[0].Number != 4 {
		t.Fatalf("entries = %v, want event 4 alone", entries)
	}
	snapshot := w.Head()
	forget()
	w, err := l.Writer(testContext(t), "ann", snapshot.Number)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, w, arrived("ann", 5, 2)...)
	var numbers []uint64
	head, err := l.Replay(testContext(t), "ann", snapshot, func(e *eventlog.Entry) error {
		numbers = append(numbers, e.Number)
		return nil
	})
	if err != nil || fmt.Sprint(numbers) != "[5 6]" || head != w.Head() {
		t.Fatalf("replay after the snapshot: %v, %+v, %v", numbers, head, err)
	}
	// A snapshot that is older than what was forgotten must not look whole.
	gap := (*eventlog.GapError)(nil)
	_, err = l.Replay(testContext(t), "ann", eventlog.Head{Sequence: 1, Number: 1}, func(*eventlog.Entry) error { return nil })
	if !errors.As(err, &gap) || gap.After != 1 || gap.Next != 5 {
		t.Fatalf("replay over a gap: %v, want *GapError from 1 to 5", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	l := newLog(t, eventlog.Config{})
	first := arrived("ann", 1, 1)[0]
	tests := []struct {
		name   string
		events []event.Event
		check  func(error) bool
		usable bool
	}{
		{"an event again", []event.Event{first}, as[*eventlog.DuplicateError], false},
		{"an event again in a batch", append(arrived("ann", 50, 20), first), as[*eventlog.DuplicateError], false},
		{"an event that is too large", []event.Event{event.New("ann", 1, time.Time{}, &event.AccountUpdated{
			AccountRef: event.AccountAt("ann"), Fields: []string{strings.Repeat("x", 9<<20)},
		})}, as[*eventlog.TooLargeError], true},
		{"another account's event", arrived("bob", 1, 1), func(err error) bool { return err != nil }, true},
	}
	for i, tt := range tests {
		mustAppend(t, writer(t, l, "ann"), event.New("ann", uint64(100+i), time.Time{}, &event.AccountPaused{AccountRef: event.AccountAt("ann")}))
		if i == 0 {
			mustAppend(t, writer(t, l, "ann"), first)
		}
		w := writer(t, l, "ann")
		before := w.Head()
		if _, err := w.Append(testContext(t), tt.events...); !tt.check(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if w.Head() != before || writer(t, l, "ann").Head() != before {
			t.Errorf("%s: the head moved", tt.name)
		}
		_, err := w.Append(testContext(t), connected("ann", uint64(i)))
		if (err == nil) != tt.usable {
			t.Errorf("%s: the next append: %v", tt.name, err)
		}
	}
	if _, err := l.Writer(testContext(t), "a.b", 0); err == nil {
		t.Error("a writer for an account whose id is two tokens")
	}
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
