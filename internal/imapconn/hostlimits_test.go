package imapconn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// There are never more turns within a window than allowed, wherever it begins.
func TestTurns(t *testing.T) {
	t.Parallel()
	const perWindow, window = 5, 50 * time.Millisecond
	turns := newTurns(perWindow, window)
	var mu sync.Mutex
	var given []time.Time
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 6 {
				if err := turns.wait(testContext(t)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				given = append(given, turns.latest())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(given, time.Time.Compare)
	given = slices.CompactFunc(given, time.Time.Equal)
	for i := perWindow; i < len(given); i++ {
		if apart := given[i].Sub(given[i-perWindow]); apart < window {
			t.Errorf("%d turns within %s", perWindow+1, apart)
		}
	}
}

// latest is when the last turn was given out.
func (t *turns) latest() time.Time { return time.Unix(0, t.last.Load()) }

func TestTurnsEndWithTheContext(t *testing.T) {
	t.Parallel()
	turns := newTurns(1, time.Hour)
	if err := turns.wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
	defer cancel()
	for range 3 { // whoever gives up does not stand in the way
		if err := turns.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
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
	waitFor(t, "all to wait", func() bool {
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
	cfg.BeforeLogin = func(context.Context) error { return asked }
	if _, err := Dial(testContext(t), cfg); !errors.Is(err, asked) {
		t.Errorf("error %v", err)
	}
}
