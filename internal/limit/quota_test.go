package limit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/limit"
)

// shelf is a store of things that are counted, which takes a while.
type shelf struct {
	there, counts atomic.Int64
	fails         atomic.Bool
}

func (s *shelf) count(ctx context.Context, _ string) (int64, error) {
	s.counts.Add(1)
	n := s.there.Load()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if s.fails.Load() {
		return 0, errors.New("out of reach")
	}
	return n, nil
}

func (s *shelf) quota(most int) *limit.Quota {
	return limit.NewQuota(limit.Bound{Setting: "things-per-key", What: "things", Most: most, Unit: 1}, s.count)
}

// put stores one thing, if it may.
func (s *shelf) put(ctx context.Context, q *limit.Quota) error {
	hold := q.Hold("a")
	err := hold.Take(ctx, 1)
	if err == nil {
		s.there.Add(1)
	}
	hold.Done(err == nil)
	return err
}

func wantFull(t *testing.T, err error, most int) {
	t.Helper()
	if full, ok := errors.AsType[*limit.FullError](err); !ok || full.Most != most || full.Setting != "things-per-key" {
		t.Errorf("%v; want to be told that there are %d", err, most)
	}
}

// Those who store at the same time, the first ones included, never have more than they
// may, and all that they may.
func TestQuotaOfManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		s.there.Store(3)
		q := s.quota(10)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for range 3 {
					_ = s.put(t.Context(), q)
					<-time.After(time.Millisecond)
				}
			})
		}
		all.Wait()
		if n := s.there.Load(); n != 10 {
			t.Errorf("there are %d, want 10", n)
		}
		wantFull(t, s.put(t.Context(), q), 10)
		wantFull(t, q.Room(t.Context(), "a", 1), 10)
	})
}

// What is removed makes room, and what others store takes it, once it is counted;
// who is refused has it counted once a second and no more.
func TestQuotaCountsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		q := s.quota(10)
		for range 10 {
			if err := s.put(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		s.there.Add(-1)
		<-time.After(time.Second)
		if err := s.put(t.Context(), q); err != nil {
			t.Errorf("there is room: %v", err)
		}
		before := s.counts.Load()
		for range 1000 {
			wantFull(t, s.put(t.Context(), q), 10)
		}
		if n := s.counts.Load() - before; n > 1 {
			t.Errorf("1000 refusals counted %d times", n)
		}
		s.there.Store(0)
		<-time.After(time.Second)
		if err := s.put(t.Context(), q); err != nil {
			t.Errorf("all was removed: %v", err)
		}
		s.there.Store(10) // others did
		<-time.After(10 * time.Second)
		wantFull(t, s.put(t.Context(), q), 10)
	})
}

// What was not stored takes no room, and what is being stored does.
func TestQuotaOfWhatIsBeingStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		q := s.quota(10)
		slow := q.Hold("a")
		for range 2 {
			if err := slow.Take(t.Context(), 4); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Minute) // it is counted again, and is not there
		wantFull(t, q.Room(t.Context(), "a", 3), 10)
		wantFull(t, slow.Take(t.Context(), 3), 10)
		if err := q.Room(t.Context(), "b", 10); err != nil {
			t.Errorf("another key: %v", err)
		}
		slow.Done(false)
		if err := q.Room(t.Context(), "a", 10); err != nil {
			t.Errorf("nothing of it was stored: %v", err)
		}
	})
}

// Where nothing can be counted nothing is taken, and whoever waits for a count ends
// with the context.
func TestQuotaThatCannotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		s.fails.Store(true)
		q := s.quota(10)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := s.put(t.Context(), q); err == nil || err.Error() != "out of reach" {
					t.Errorf("it is %v", err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		all.Go(func() {
			if err := s.put(ctx, q); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
		})
		all.Wait()
		s.fails.Store(false)
		if err := s.put(t.Context(), q); err != nil {
			t.Errorf("it can be counted again: %v", err)
		}
	})
}

// Keys are forgotten, but for those that store something.
func TestQuotasAreBounded(t *testing.T) {
	t.Parallel()
	q := limit.NewQuota(limit.Bound{Setting: "things-per-key", Most: 1, Unit: 1}, func(context.Context, string) (int64, error) { return 0, nil })
	slow := q.Hold("slow")
	if err := slow.Take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for i := range 30_000 {
		if err := q.Room(t.Context(), fmt.Sprint("key", i), 1); err != nil {
			t.Fatal(err)
		}
		if q.Len() > 10_000 {
			t.Fatalf("%d keys are remembered", q.Len())
		}
	}
	wantFull(t, q.Room(t.Context(), "slow", 1), 1)
}

func TestNoQuota(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	q := s.quota(0)
	for range 1000 {
		if err := s.put(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.counts.Load(); n != 0 {
		t.Errorf("without a bound it was counted %d times", n)
	}
}
