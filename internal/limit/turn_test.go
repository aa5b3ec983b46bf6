package limit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/waittest"
)

// begin begins a turn that does not lapse.
func begin(t *testing.T, line *limit.Line, key string) (context.Context, *limit.Turn) {
	t.Helper()
	ctx, turn, err := line.Begin(t.Context(), key, limit.Pace{Longest: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, turn
}

// Whoever waits for others leaves the place to the next, and comes before those who
// have not begun when the wait is over.
func TestTurnIsFreeDuringAPause(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(1, 0)
	ctx, first := begin(t, line, "a")
	limit.TurnOf(ctx).Pause()
	_, second := begin(t, line, "a")
	third := make(chan *limit.Turn, 1)
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() {
		_, turn := begin(t, line, "a")
		third <- turn
	})
	waittest.For(t, "the next in line", func() bool { return line.Waiting() == 1 })
	resumed := make(chan struct{})
	others.Go(func() {
		first.Resume()
		close(resumed)
	})
	waittest.For(t, "the one that comes back in line", func() bool { return line.Waiting() == 2 })
	second.End()
	<-resumed
	if line.Held() != 1 || line.Waiting() != 1 {
		t.Errorf("%d hold the one place, %d wait for it", line.Held(), line.Waiting())
	}
	first.End()
	(<-third).End()
	if line.Held() != 0 {
		t.Errorf("%d places are taken although all turns have ended", line.Held())
	}
}

// A turn is of one call, whatever its goroutines do one beside the other, and in
// whatever order it ends.
func TestTurnOfSeveralGoroutines(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(2, 1)
	_, turn := begin(t, line, "a")
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for range 1000 {
				turn.Pause()
				turn.Resume()
				if held := line.Held(); held > 2 {
					t.Errorf("%d hold 2 places", held)
				}
			}
		})
	}
	working.Wait()
	if line.Held() != 1 {
		t.Errorf("%d places are taken after the last pause, want 1", line.Held())
	}
	turn.Pause()
	turn.End()
	turn.Resume()
	turn.End()
	if line.Held() != 0 {
		t.Errorf("%d places are taken after the end", line.Held())
	}
}

// A wait that nobody has told of costs the place, and the end of the context the wait
// for it.
func TestTurnLapses(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, turn, err := line.Begin(ctx, "a", limit.Pace{Longest: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the place to be free", func() bool { return line.Held() == 0 })
	enter(t, line, "b")
	turn.Pause()
	cancel()
	turn.Resume()
	turn.End()
	if line.Held() != 1 || line.Waiting() != 0 {
		t.Errorf("%d places are taken, %d wait; want only the one of the other", line.Held(), line.Waiting())
	}
}

// A place for which others of the key wait rests after work, unless the key is alone.
// Another key does not wait for it.
func TestTurnRests(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(0, 1)
	pace := limit.Pace{Longest: time.Hour, Rest: 1 << 30} // until after the test
	begin := func(key string) *limit.Turn {
		_, turn, err := line.Begin(t.Context(), key, pace)
		if err != nil {
			t.Error(err)
		}
		return turn
	}
	begin("a").End()
	begin("a").End() // for which nobody waited
	begin("b").End()
	turn, next := begin("a"), make(chan *limit.Turn, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, turn, _ := line.Begin(ctx, "a", pace)
		next <- turn
	}()
	waittest.For(t, "another one of the key", func() bool { return line.Waiting() == 1 })
	turn.End()
	begin("b").End()
	if line.Held() != 1 || line.Waiting() != 1 {
		t.Errorf("%d hold places, %d wait; want one that rests, and one that waits for it", line.Held(), line.Waiting())
	}
	cancel()
	if turn := <-next; turn != nil {
		t.Error("the place did not rest")
	}
}

// What has no turn waits for none.
func TestNoTurn(t *testing.T) {
	t.Parallel()
	turn := limit.TurnOf(t.Context())
	turn.Pause()
	turn.Resume()
	turn.End()
	if turn != nil {
		t.Errorf("a turn out of nothing: %v", turn)
	}
}
