package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/waittest"
)

func open(t *testing.T, js jetstream.JetStream, config Config) *Log {
	t.Helper()
	config.Node = "n"
	l, err := Open(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// all reads the log by pages.
func all(t *testing.T, l *Log, q Query, limit int) (found []*Entry) {
	t.Helper()
	for below, pages := uint64(0), 0; ; pages++ {
		entries, next, err := l.List(t.Context(), q, below, limit)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, entries...)
		if next == 0 {
			return found
		}
		if below != 0 && next >= below {
			t.Fatalf("page %d goes on from %d after %d", pages, next, below)
		}
		below = next
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	l := open(t, natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), Config{})
	if got := all(t, l, Query{}, 10); len(got) != 0 {
		t.Fatalf("an empty log has %v", got)
	}
	const n = 2*block + 7
	began := time.Now().UTC().Truncate(time.Microsecond)
	for i := range n {
		l.Add(&Entry{
			Time: began.Add(time.Duration(i) * time.Millisecond), Principal: fmt.Sprintf("tokens/%d", i%3), Method: "MessageService.GetMessage",
			Account: []string{"ann", "bob"}[i%2], Code: []string{"OK", "NOT_FOUND"}[i%2], RequestID: fmt.Sprint(i),
		})
	}
	l.Add(&Entry{Time: began, Method: "TokenService.CreateToken", RequestID: "last"})
	waittest.For(t, "the entries", func() bool {
		entries, _, err := l.List(t.Context(), Query{}, 0, 1)
		return err == nil && len(entries) == 1 && entries[0].RequestID == "last"
	})
	at := func(i int) time.Time { return began.Add(time.Duration(i) * time.Millisecond) }
	cases := map[string]struct {
		query Query
		want  func(i int) bool
	}{
		"everything":              {Query{Method: "MessageService"}, func(int) bool { return true }},
		"somebody's":              {Query{Principal: "tokens/1"}, func(i int) bool { return i%3 == 1 }},
		"an account's":            {Query{Account: "bob", Method: "MessageService.GetMessage"}, func(i int) bool { return i%2 == 1 }},
		"a code's, of somebody":   {Query{Code: "NOT_FOUND", Principal: "tokens/0"}, func(i int) bool { return i%2 == 1 && i%3 == 0 }},
		"those of some time":      {Query{Start: at(10), End: at(20)}, func(i int) bool { return i >= 10 && i < 20 }},
		"another method's":        {Query{Method: "MessageService.Get"}, func(int) bool { return false }},
		"those of a time to come": {Query{Start: time.Now().Add(time.Hour)}, func(int) bool { return false }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []int{3, 100, 5000} {
				if limit == 3 && name != "those of some time" {
					continue // hundreds of pages
				}
				var want, got []string
				for i := n - 1; i >= 0; i-- {
					if c.want(i) {
						want = append(want, fmt.Sprint(i))
					}
				}
				for _, e := range all(t, l, c.query, limit) {
					if e.RequestID != "last" {
						got = append(got, e.RequestID)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("by %d: %d entries %.80v, want %d", limit, len(got), got, len(want))
				}
			}
		})
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	js := natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	l := open(t, js, Config{MaxEntries: 10})
	for i := range 30 {
		l.Add(&Entry{Time: time.Now(), RequestID: fmt.Sprint(i)})
	}
	// Names that are too many, or too long, are cut rather than refused.
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprintf("accounts/a/messages/%0200d", i)
	}
	l.Add(&Entry{Time: time.Now(), RequestID: "long", Resources: long})
	waittest.For(t, "the last entries", func() bool {
		got := all(t, l, Query{}, 100)
		return len(got) == 10 && got[0].RequestID == "long" && len(got[0].Resources) == 1
	})
	stream, err := js.Stream(t.Context(), StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 25); err == nil {
		t.Error("an entry can be deleted")
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("the log can be emptied")
	}
}

// Nobody waits for a log that cannot be written; what has no room is counted.
func TestLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := natsdtest.Start(t, natsd.Config{DataDir: dir})
	addr := server.Addr()
	js := natsdtest.JetStream(t, server)
	l := open(t, js, Config{})
	l.Add(&Entry{Time: time.Now(), RequestID: "before"})
	waittest.For(t, "the first entry", func() bool { return len(all(t, l, Query{}, 10)) == 1 })
	l.Close()

	// Nothing takes entries out of the queue of a log that was closed.
	for i := range queued + 5 {
		l.Add(&Entry{Time: time.Now(), RequestID: fmt.Sprint(i)})
	}
	if lost := l.lost.Load(); lost != 5 {
		t.Fatalf("%d are lost, want 5", lost)
	}
	if !l.store(t.Context(), []*Entry{<-l.queue}) {
		t.Fatal("not stored")
	}
	got := all(t, l, Query{}, 10)
	if len(got) != 3 || got[0].RequestID != "0" || got[1].Lost != 5 || l.lost.Load() != 0 {
		t.Errorf("the log has %v at %s", got, addr)
	}
}

func TestCloseWritesWhatIsLeft(t *testing.T) {
	t.Parallel()
	js := natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	l := open(t, js, Config{})
	for i := range 3 * batchSize {
		l.Add(&Entry{Time: time.Now(), RequestID: fmt.Sprint(i)})
	}
	l.Close()
	if got := all(t, open(t, js, Config{}), Query{}, 5000); len(got) != 3*batchSize {
		t.Errorf("%d entries are there", len(got))
	}
}
