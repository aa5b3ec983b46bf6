package submit

import (
	"math/rand/v2"
	"time"
)

// pauses are those between attempts. RFC 5321 section 4.5.4.1 wants half an hour
// at least in general; a submission server's "later" is more often greylisting or
// a rate, so the first ones are short.
var pauses = []time.Duration{
	time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour,
}

// pauseAfter is how long to wait after a number of attempts, spread out by a tenth
// so that what failed together does not come back together.
func pauseAfter(attempts int) time.Duration {
	pause := pauses[min(max(attempts, 1), len(pauses))-1]
	return pause + rand.N(pause/10) //nolint:gosec // spreads, hides nothing
}
