package imapconn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/waittest"
)

// What is done in a turn is never seen more often within a window than there are
// turns, wherever the window begins and whenever in the turn it is done.
func TestTurns(t *testing.T) {
	t.Parallel()
	const perWindow, window = 5, 50 * time.Millisecond
	turns := newTurns(perWindow, window, time.Minute)
	var mu sync.Mutex
	var seen []time.Time
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				end, err := turns.begin(testContext(t))
				if err != nil {
					t.Error(err)
					return
				}
				// As if the process stood still, for as long as makes it seem that
				// a turn which began earlier is done later.
				<-time.After(time.Duration((i+j)%3) * window / 2)
				mu.Lock()
				seen = append(seen, time.Now())
				mu.Unlock()
				end()
				end() // has no effect
			}
		})
	}
	wg.Wait()
	slices.SortFunc(seen, time.Time.Compare)
	for i := perWindow; i < len(seen); i++ {
		if apart := seen[i].Sub(seen[i-perWindow]); apart < window {
			t.Errorf("%d turns within %s", perWindow+1, apart)
		}
	}
	waittest.For(t, "all turns to be free", turns.fresh)
}

// A turn that nobody ends does not stand in the way of others for ever.
func TestTurnsAreForgotten(t *testing.T) {
	t.Parallel()
	turns := newTurns(1, time.Millisecond, 10*time.Millisecond)
	for range 3 {
		if _, err := turns.begin(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTurnsEndWithTheContext(t *testing.T) {
	t.Parallel()
	turns := newTurns(1, time.Hour, time.Hour)
	if _, err := turns.begin(testContext(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
	defer cancel()
	for range 3 {
		if _, err := turns.begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	}
}

// However many wait patiently, one who does not comes next but one.
func TestPatienceStandsBack(t *testing.T) {
	t.Parallel()
	l := NewHostLimits(0, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 50 {
		wg.Go(func() {
			if place, err := l.Acquire(ctx, "a", true); err == nil {
				place.Release()
			}
		})
	}
	waittest.For(t, "all to wait", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		h := l.hosts["a"]
		return h != nil && h.users >= 49
	})
	place, err := l.Acquire(ctx, "a", false) // in 50 seconds, if it had to wait for the patient
	if err != nil {
		t.Fatal(err)
	}
	place.Release()
}

// A connection that was opened in time logs in when it may.
func TestLoginsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	s := scripted(t, "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\nignore")
	cfg := s.config()
	asked := errors.New("not yet")
	cfg.BeforeLogin = func(context.Context) (func(), error) { return nil, asked }
	if _, err := Dial(testContext(t), cfg); !errors.Is(err, asked) {
		t.Errorf("error %v", err)
	}
}
