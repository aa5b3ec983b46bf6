package requestid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestDoOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	runs := 0
	run := func(_ context.Context, again bool) (string, error) {
		runs++
		return fmt.Sprintf("outcome %d %v", runs, again), nil
	}
	for range 3 {
		if got, err := s.Do(t.Context(), "ann/Copy", "r1", []byte("x"), run); err != nil || got != "outcome 1 false" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if _, err := s.Do(t.Context(), "ann/Copy", "r1", []byte("y"), run); !errors.Is(err, ErrReused) {
		t.Errorf("other content: %v", err)
	}
	for i := 2; i < 4; i++ {
		if got, err := s.Do(t.Context(), "ann/Copy", "", []byte("x"), run); err != nil || got != fmt.Sprintf("outcome %d false", i) {
			t.Errorf("without an id: %q, %v", got, err)
		}
	}
}

// A call that has failed has not been, unless nobody knows whether it did its
// work.
func TestDoFailures(t *testing.T) {
	t.Parallel()
	s := open(t)
	errFailed := errors.New("failed")
	var told []bool
	outcomes := []error{errFailed, &UncertainError{errFailed}, &UncertainError{errFailed}, nil}
	run := func(_ context.Context, again bool) (string, error) {
		told = append(told, again)
		return "done", outcomes[len(told)-1]
	}
	for _, want := range outcomes {
		if _, err := s.Do(t.Context(), "ann/Copy", "r", []byte("x"), run); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	if fmt.Sprint(told) != "[false false true true]" {
		t.Errorf("told %v", told)
	}
}

// A call under way keeps others out for as long as it lives; one that has died
// does not.
func TestDoInProgress(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.beat, s.stale = 20*time.Millisecond, 2*time.Second
	_, err := s.Do(t.Context(), "ann/Copy", "r", []byte("x"), func(ctx context.Context, _ bool) (string, error) {
		// Longer than a call may be silent.
		for end := time.Now().Add(s.stale + time.Second); time.Now().Before(end); {
			if _, err := s.Do(ctx, "ann/Copy", "r", []byte("x"), nil); !errors.Is(err, ErrInProgress) {
				t.Errorf("a second call: %v", err)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return "first", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// One that leaves its request as begun, as a process that is killed does.
	if _, err := s.Begin(t.Context(), "ann/Copy", "dead", []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	var again atomic.Bool
	deadline := time.Now().Add(30 * time.Second)
	for {
		outcome, err := s.Do(t.Context(), "ann/Copy", "dead", []byte("x"), func(_ context.Context, told bool) (string, error) {
			again.Store(told)
			return "second", nil
		})
		if err == nil && outcome == "second" {
			break
		}
		if !errors.Is(err, ErrInProgress) || time.Now().After(deadline) {
			t.Fatalf("got %q, %v", outcome, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	if !again.Load() {
		t.Error("the second call was not told that it comes again")
	}
}

func TestDoPlannedKeepsThePlan(t *testing.T) {
	t.Parallel()
	s := open(t)
	var plans []string
	run := func(err error) func(context.Context, string, bool) (string, error) {
		return func(_ context.Context, plan string, again bool) (string, error) {
			plans = append(plans, fmt.Sprint(plan, again))
			return "done", err
		}
	}
	for i, err := range []error{errors.New("refused"), &UncertainError{Err: errors.New("cut off")}, nil, nil} {
		_, _ = s.DoPlanned(t.Context(), "a", "id", []byte("x"), fmt.Sprint("plan", i), run(err))
	}
	// What was refused was not made; what was cut off goes on with its own plan.
	if got := strings.Join(plans, " "); got != "plan0false plan1false plan1true" {
		t.Errorf("plans %s", got)
	}
}
