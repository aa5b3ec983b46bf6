package moves

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/waittest"
)

var inbox, archive = folder.Key{1}, folder.Key{2}

func open(t *testing.T, js jetstream.JetStream) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), js, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func someMove() Move {
	return Move{Account: "ann", From: inbox, UIDValidity: 7, UIDs: imap.UIDSetNum(3, 5), To: archive}
}

// moved is what a server answers that moved 3 and 5 to 20 and 21.
func moved() *imap.CopyData {
	return &imap.CopyData{UIDValidity: 9, SourceUIDs: imap.UIDSetNum(3, 5), DestUIDs: imap.UIDSet{{Start: 20, Stop: 21}}}
}

func TestMovesAreKnownOnAllNodes(t *testing.T) {
	t.Parallel()
	js := natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	here, there := open(t, js), open(t, js)
	_, err := here.Run(t.Context(), someMove(), func(context.Context) (*imap.CopyData, error) { return moved(), nil })
	if err != nil {
		t.Fatal(err)
	}
	before := folder.MessageID{Folder: inbox, UIDValidity: 7, UID: 5}
	after := folder.MessageID{Folder: archive, UIDValidity: 9, UID: 21}
	later := open(t, js) // a node that starts after the move
	for name, l := range map[string]*Ledger{"here": here, "there": there, "later": later} {
		end := time.Now().Add(30 * time.Second)
		for {
			if got, ok := l.Source("ann", after); ok && got == before {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not know of the move", name)
			}
			_, changed := l.underWay("ann", inbox)
			select {
			case <-changed:
			case <-time.After(10 * time.Millisecond):
			}
		}
		if got, ok := l.Target("ann", before); !ok || got != after {
			t.Errorf("%s: the target is %+v, %v", name, got, ok)
		}
		if got := l.From("ann", inbox, 7); got.String() != "3,5" {
			t.Errorf("%s: moved from INBOX were %s", name, got.String())
		}
		for _, other := range []folder.MessageID{
			{Folder: archive, UIDValidity: 9, UID: 22}, {Folder: archive, UIDValidity: 8, UID: 21}, {Folder: inbox, UIDValidity: 9, UID: 21},
		} {
			if _, ok := l.Source("ann", other); ok {
				t.Errorf("%s: %+v counts as moved", name, other)
			}
		}
		if _, ok := l.Source("bob", after); ok {
			t.Errorf("%s: another account's move counts", name)
		}
	}
}

// What a server did not move, or does not tell of, is not remembered.
func TestOutcomesWithoutPairs(t *testing.T) {
	t.Parallel()
	l := open(t, natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})))
	failure := errors.New("refused")
	for name, outcome := range map[string]struct {
		data *imap.CopyData
		err  error
	}{"refused": {nil, failure}, "no COPYUID": {nil, nil}, "copied, then failed": {moved(), failure}} {
		data, err := l.Run(t.Context(), someMove(), func(context.Context) (*imap.CopyData, error) { return outcome.data, outcome.err })
		if data != outcome.data || !errors.Is(err, outcome.err) {
			t.Errorf("%s: Run returned %v, %v", name, data, err)
		}
		if _, ok := l.Target("ann", folder.MessageID{Folder: inbox, UIDValidity: 7, UID: 5}); ok {
			t.Errorf("%s: the move is remembered", name)
		}
		if err := l.Settle(t.Context(), "ann", archive); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A look waits for a move that is under way, and no longer than a bound for one
// of which nobody hears again.
func TestSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &Ledger{moves: map[string][]*record{}, changed: make(chan struct{})}
		rec := &record{ID: "1", Account: "ann", Begun: time.Now(), From: inbox, UIDValidity: 7, UIDs: imap.UIDSetNum(3, 5), To: archive}
		l.take(rec)
		settled := make(chan error, 1)
		go func() { settled <- l.Settle(t.Context(), "ann", archive) }()
		synctest.Wait()
		select {
		case err := <-settled:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		ended := *rec
		ended.Ended, ended.Copied = true, moved()
		l.take(&ended)
		synctest.Wait()
		if err := <-settled; err != nil {
			t.Fatal(err)
		}

		lost := *rec
		lost.ID = "2"
		l.take(&lost)
		began := time.Now()
		for range 2 {
			if err := l.Settle(t.Context(), "ann", inbox); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != patience {
			t.Errorf("waited %v for a move that is never told the end of, want %v", waited, patience)
		}
		if err := l.Settle(t.Context(), "bob", inbox); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMovesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &Ledger{moves: map[string][]*record{}, changed: make(chan struct{})}
		for i := range maxMoves + 10 {
			l.take(&record{ID: string(rune(i)), Account: "ann", Begun: time.Now(), Ended: true})
		}
		if n := len(l.moves["ann"]); n != maxMoves {
			t.Errorf("%d moves are remembered, want %d", n, maxMoves)
		}
		<-time.After(keep + time.Second) // by the clock of the bubble
		l.take(&record{ID: "new", Account: "ann", Begun: time.Now(), Ended: true})
		if n := len(l.moves["ann"]); n != 1 {
			t.Errorf("%d moves are remembered after their time, want 1", n)
		}
	})
}

// What other nodes move is known when NATS is back.
func TestLedgerOutlivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natsdtest.Start(t, natsd.Config{DataDir: dir})
	here, there := open(t, natsdtest.Remote(t, srv.URL().Reveal())), open(t, natsdtest.Remote(t, srv.URL().Reveal()))
	natsdtest.Stop(t, srv)
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: srv.Addr()})
	waittest.For(t, "the other node to know of a move", func() bool {
		if _, err := here.Run(t.Context(), someMove(), func(context.Context) (*imap.CopyData, error) { return moved(), nil }); err != nil {
			t.Error(err)
		}
		_, known := there.Source("ann", folder.MessageID{Folder: archive, UIDValidity: 9, UID: 21})
		return known
	})
}
