package idle

import (
	"testing"
	"time"
)

func TestFolderPace(t *testing.T) {
	t.Parallel()
	const interval = time.Minute
	began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		// changes and now are in seconds after the beginning.
		changes []int
		now     int
		want    time.Duration
	}{
		{"a folder that never changed", nil, 0, interval},
		{"one change says nothing of how often", []int{0}, 1, interval},
		{"twice in a second", []int{0, 1}, 1, 15 * time.Second},
		{"every minute", []int{0, 60, 120}, 120, 15 * time.Second},
		{"every two minutes", []int{0, 120, 240}, 240, 30 * time.Second},
		{"every hour", []int{0, 3600, 7200}, 7200, interval},
		{"often, and then no more", []int{0, 10, 20}, 20 + 140, 35 * time.Second},
		{"often, and then for long no more", []int{0, 10, 20}, 20 + 3600, interval},
		{"seldom, and then often", []int{0, 3600, 3610, 3620, 3630, 3640, 3650, 3660, 3670, 3680}, 3680, 15 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r rhythm
			for _, at := range tc.changes {
				r.changed(began.Add(time.Duration(at) * time.Second))
			}
			if got := r.pace(began.Add(time.Duration(tc.now)*time.Second), interval); got != tc.want {
				t.Errorf("the pace is %s, want %s", got, tc.want)
			}
		})
	}
}

// Whatever a folder does, it is never looked at later than promised.
func TestFolderPaceKeepsThePromise(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for _, interval := range []time.Duration{time.Second, time.Minute, 24 * time.Hour} {
		for apart := time.Millisecond; apart < 1000*time.Hour; apart *= 3 {
			for quiet := time.Duration(0); quiet < 1000*time.Hour; quiet = quiet*3 + time.Millisecond {
				r := rhythm{last: began, apart: apart}
				if pace := r.pace(began.Add(quiet), interval); pace > interval || pace < interval/eager {
					t.Fatalf("changes %s apart, the last %s ago: the pace is %s of %s", apart, quiet, pace, interval)
				}
			}
		}
	}
}

func TestPollPace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		interval time.Duration
		calm     bool
		want     time.Duration
	}{
		{time.Minute, false, time.Minute},
		{time.Minute, true, 5 * time.Minute},
		{10 * time.Second, true, 50 * time.Second},
		{5 * time.Minute, true, 10 * time.Minute},
		{time.Hour, true, time.Hour},
	} {
		if got := pollPace(tc.interval, tc.calm); got != tc.want {
			t.Errorf("interval %s, calm %v: %s, want %s", tc.interval, tc.calm, got, tc.want)
		}
	}
}

func TestLookPace(t *testing.T) {
	t.Parallel()
	unproved, proved, silent := pushes{}, pushes{told: 1}, pushes{silent: true, missed: enoughPushes}
	for _, tc := range []struct {
		name           string
		interval, link time.Duration
		pushes         pushes
		want           time.Duration
	}{
		{"a server that tells: as often as the link wants it", time.Minute, 90 * time.Second, proved, 45 * time.Second},
		{"one of which nothing is known", time.Minute, 90 * time.Second, unproved, 30 * time.Second},
		{"one that does not tell", time.Minute, 90 * time.Second, silent, 15 * time.Second},
		{"a long interval", time.Hour, 90 * time.Second, unproved, 45 * time.Second},
		{"a short one", 4 * time.Second, 90 * time.Second, silent, time.Second},
		{"a patient operator", time.Minute, 30 * time.Minute, proved, time.Minute},
		{"an impatient one", time.Minute, 30 * time.Second, silent, 15 * time.Second},
	} {
		if got := lookPace(tc.interval, tc.link, tc.pushes); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// t stands for mail that the server told of, m for mail that was found without,
// and u for such that it had no time to tell of.
func TestPushes(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]struct{ silent, proved bool }{
		"":         {false, false},
		"t":        {false, true},
		"m":        {false, false},
		"mm":       {true, false},
		"tm":       {false, false},
		"mt":       {false, true},
		"tmm":      {true, false},
		"mtm":      {false, false},
		"mtmtmt":   {false, true},
		"uuuuuu":   {false, false},
		"mum":      {true, false},
		"mmt":      {true, false},
		"mmtt":     {false, true},
		"mmtmt":    {true, false},
		"mmtut":    {true, false},
		"mmttm":    {false, false},
		"mmttmm":   {true, false},
		"ttttttm":  {false, false},
		"ttttttmm": {true, false},
	} {
		t.Run(history, func(t *testing.T) {
			t.Parallel()
			var p pushes
			for _, c := range history {
				switch c {
				case 't':
					p.tells()
				case 'm':
					p.misses(true)
				case 'u':
					p.misses(false)
				}
			}
			if p.silent != want.silent || p.proved() != want.proved {
				t.Errorf("silent %v and proved %v, want %v and %v", p.silent, p.proved(), want.silent, want.proved)
			}
		})
	}
}
