package limit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/waittest"
)

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	rates := limit.NewRates(10, 2, 1000)
	for i := range 20 {
		if _, ok := rates.Take("a", now); !ok {
			t.Fatalf("event %d of 20 at once is refused", i+1)
		}
	}
	wait, ok := rates.Take("a", now)
	if ok || wait <= 0 || wait > 100*time.Millisecond {
		t.Errorf("event 21: %t, wait %s; want to be refused for a tenth of a second", ok, wait)
	}
	if _, ok := rates.Take("b", now); !ok {
		t.Error("another key is refused")
	}
	if _, ok := rates.Take("a", now.Add(wait)); !ok {
		t.Error("refused after the time that was told")
	}
	if _, ok := rates.Take("a", now.Add(wait)); ok {
		t.Error("a refusal cost nothing, and there is more than there should be")
	}
}

func TestNoRate(t *testing.T) {
	t.Parallel()
	rates := limit.NewRates(0, 2, 1000)
	for range 10_000 {
		if _, ok := rates.Take("a", time.Now()); !ok {
			t.Fatal("refused without a limit")
		}
	}
	if rates.Len() != 0 {
		t.Error("keys are remembered for nothing")
	}
}

// Whoever makes up keys gets no memory for them, neither those that are over their
// rate nor those that are not.
func TestRatesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	rates := limit.NewRates(1, 2, 5000)
	for i := range 30_000 {
		rates.Take(fmt.Sprint("key", i), now)
		if rates.Len() > 5000 {
			t.Fatalf("%d keys are remembered, want 5000 at most", rates.Len())
		}
	}
	// After a while all buckets are full, and the next keys take their room.
	later := now.Add(time.Minute)
	for i := range 5000 {
		rates.Take(fmt.Sprint("later", i), later.Add(time.Duration(i)*10*time.Second))
	}
	if rates.Len() > 2100 {
		t.Errorf("%d keys are remembered of which each is as good as new", rates.Len())
	}
}

// Making room forgets nobody who has used up what they have, as long as there is
// somebody who has not.
func TestRoomIsMadeByThoseWhoAskForLittle(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	rates := limit.NewRates(1, 5, 2000)
	for range 5 {
		rates.Take("flood", now)
	}
	forgotten := 0
	for i := range 20_000 {
		rates.Take(fmt.Sprint("key", i), now)
		if _, ok := rates.Take("flood", now); ok {
			forgotten++
		}
	}
	if forgotten > 0 {
		t.Errorf("forgotten %d times", forgotten)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	places := limit.NewPlaces(2)
	for _, want := range []bool{true, true, false} {
		if got := places.Take("a"); got != want {
			t.Errorf("take %t, want %t", got, want)
		}
	}
	if !places.Take("b") {
		t.Error("another key is refused")
	}
	places.Leave("a")
	if !places.Take("a") {
		t.Error("the place that was given back is not to be had")
	}
	for _, key := range []string{"a", "a", "b"} {
		places.Leave(key)
	}
	if places.Len() != 0 || places.Held("a") != 0 {
		t.Errorf("%d keys are remembered, of which none holds a place", places.Len())
	}
}

// Whoever is first in line for a key that asks for much is not before one that asks
// for little.
func TestLineGoesByTurns(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(1, 0)
	enter(t, line, "flood")
	order := make(chan string, 20)
	var waiting sync.WaitGroup
	join := func(key string) {
		n := line.Waiting()
		waiting.Go(func() {
			if err := line.Enter(t.Context(), key); err != nil {
				t.Error(err)
			}
			order <- key
		})
		waittest.For(t, "the caller to be in line", func() bool { return line.Waiting() == n+1 })
	}
	for range 5 {
		join("flood")
	}
	join("other")
	join("third")
	got, in := "", "flood"
	for range 7 {
		line.Leave(in)
		in = <-order
		got += in[:1]
	}
	waiting.Wait()
	if got != "fotffff" {
		t.Errorf("they got in in the order %s, want fotffff", got)
	}
}

// A key that is alone may have all places. Once another one asks, it gives up one,
// and the other gets it at once from then on.
func TestLineKeepsAPlaceForOthers(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(3, 2)
	for range 3 {
		enter(t, line, "a")
	}
	done := make(chan error, 1)
	go func() { done <- line.Enter(t.Context(), "b") }()
	waittest.For(t, "the other one to be in line", func() bool { return line.Waiting() == 1 })
	line.Leave("a")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	line.Leave("b")
	// Now there is a place, and "a" holds two.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if line.Enter(ctx, "a") == nil {
		t.Error("one key has all places although another one has just asked")
	}
	enter(t, line, "b")
}

func TestLineForgetsThoseWhoGo(t *testing.T) {
	t.Parallel()
	line := limit.NewLine(1, 0)
	enter(t, line, "a")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- line.Enter(ctx, "b") }()
	waittest.For(t, "the other one to be in line", func() bool { return line.Waiting() == 1 })
	cancel()
	if err := <-done; err == nil {
		t.Error("let in although it had gone")
	}
	if line.Waiting() != 0 {
		t.Error("it is still in line")
	}
	line.Leave("a")
	enter(t, line, "c")
}

// Many come and go, some before it is their turn: there are never more than may be,
// nobody is left waiting, and all places are there in the end.
func TestLineHolds(t *testing.T) {
	t.Parallel()
	const size, each = 4, 3
	line := limit.NewLine(size, each)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var in, served atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		key := fmt.Sprint(i % 5)
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
				if line.Enter(ctx, key) == nil {
					if n := in.Add(1); n > size {
						t.Errorf("%d are in", n)
					}
					served.Add(1)
					in.Add(-1)
					line.Leave(key)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d of 8000 got in", served.Load())
	if line.Held() != 0 || line.Waiting() != 0 {
		t.Errorf("%d places are held and %d wait in the end", line.Held(), line.Waiting())
	}
}

func enter(t *testing.T, line *limit.Line, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := line.Enter(ctx, key); err != nil {
		t.Fatalf("%s does not get in: %v", key, err)
	}
}
