package webhook

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Schedule says when an event that was not taken is tried again.
type Schedule struct {
	// Quick are the waits between the first tries, which follow each other
	// while the event is in hand.
	Quick []time.Duration
	// Parked are the waits of an event that is parked after the quick tries;
	// after the last one it becomes a dead letter.
	Parked []time.Duration
}

// DefaultSchedule is that of Standard Webhooks, with the first tries at once.
func DefaultSchedule() Schedule {
	return Schedule{
		Quick: []time.Duration{200 * time.Millisecond, time.Second},
		Parked: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
	}
}

// quickTries is how often an event is tried before it is parked.
func (s Schedule) quickTries() int { return len(s.Quick) + 1 }

// next is the wait of an event that has been parked so many times already, and
// false when there is none left.
func (s Schedule) next(parks int) (time.Duration, bool) {
	if parks >= len(s.Parked) {
		return 0, false
	}
	return jitter(s.Parked[parks]), true
}

// jitter spreads a wait by a tenth to either side, so that what failed together
// does not come back together.
func jitter(d time.Duration) time.Duration {
	spread := d / 10
	return d - spread + rand.N(2*spread+1) //nolint:gosec // spreads, hides nothing
}

// verdict is what an answer means for the event.
type verdict int

const (
	taken     verdict = iota
	refused           // try again by the schedule
	throttled         // try again, but not before the time that the endpoint asked for
	gone              // the endpoint wants nothing any more
)

// maxRetryAfter bounds what an endpoint may ask for.
const maxRetryAfter = 24 * time.Hour

// judge reads the status and header of an answer. wait is how long the endpoint
// asks to be left alone.
func judge(status int, header http.Header, now time.Time) (v verdict, wait time.Duration) {
	switch {
	case status >= 200 && status < 300:
		return taken, 0
	case status == http.StatusGone:
		return gone, 0
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		if wait, ok := retryAfter(header.Get("Retry-After"), now); ok {
			return throttled, min(wait, maxRetryAfter)
		}
	}
	return refused, 0
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110 section
// 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// complaint says in words what was wrong with an answer.
func complaint(status int) string {
	switch {
	case status >= 300 && status < 400:
		return fmt.Sprintf("the endpoint answered %d: redirects are not followed, so give the address that it redirects to", status)
	case status == http.StatusGone:
		return "the endpoint answered 410: it wants no more events"
	}
	return fmt.Sprintf("the endpoint answered %d", status)
}
