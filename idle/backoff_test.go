package idle

import (
	"testing"
	"time"
)

// The waits double up to the cap, are anywhere between, and begin anew.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Minute
	var longest [30]time.Duration
	shortest := limit
	for range 500 {
		wait := backoff{cap: limit}
		for i := range longest {
			ceiling := min(time.Second<<i, limit)
			delay := wait.next()
			if delay <= 0 || delay > ceiling {
				t.Fatalf("after failure %d the wait is %s, at most %s are due", i+1, delay, ceiling)
			}
			longest[i] = max(longest[i], delay)
		}
		shortest = min(shortest, wait.next())
		wait.reset()
		if delay := wait.next(); delay > time.Second {
			t.Fatalf("the first wait after a reset is %s", delay)
		}
	}
	for i, d := range longest {
		if ceiling := min(time.Second<<i, limit); d < ceiling*9/10 {
			t.Errorf("after failure %d no wait of 500 is longer than %s of %s", i+1, d, ceiling)
		}
	}
	if shortest > limit/10 {
		t.Errorf("no wait of 500 is shorter than %s: that is no full jitter", shortest)
	}
}
