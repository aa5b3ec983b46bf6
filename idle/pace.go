package idle

import "time"

const (
	// eager is the part of its interval after which something is looked at that
	// is worth it: a folder that changes often, or INBOX of a server that does
	// not tell of its mail.
	eager = 4
	// calm is how many intervals apart folders are compared for whose changes
	// the server has shown to tell, and calmCap the most that this may make.
	calm    = 5
	calmCap = 10 * time.Minute
	// withoutIdle is how often INBOX is looked at on servers without IDLE.
	withoutIdle = 15 * time.Second
)

// rhythm is how often a folder changes.
type rhythm struct {
	last  time.Time     // when the last change was found
	apart time.Duration // of the changes, smoothed; 0 until there were two
}

// changed takes note of a change.
func (r *rhythm) changed(now time.Time) {
	if !r.last.IsZero() {
		gap := now.Sub(r.last)
		if r.apart > 0 {
			gap = (r.apart + gap) / 2
		}
		r.apart = gap
	}
	r.last = now
}

// pace is how long after a look at the folder the next is due: a fourth of the
// time between its changes, or of the time for which it has not changed, within
// a fourth of the interval and the interval itself.
func (r rhythm) pace(now time.Time, interval time.Duration) time.Duration {
	if r.apart == 0 {
		return interval
	}
	quiet := max(r.apart, now.Sub(r.last))
	return min(max(quiet/eager, interval/eager), interval)
}

// pollPace is how far apart all folders are compared with what is known.
func pollPace(interval time.Duration, notified bool) time.Duration {
	if !notified {
		return interval
	}
	return max(interval, min(calm*interval, calmCap))
}

// lookPace is how far apart INBOX is looked at although the server has IDLE. It
// never is more than half of the link timeout, for the look is also the proof
// that the link is alive.
func lookPace(interval, linkTimeout time.Duration, p pushes) time.Duration {
	switch {
	case p.silent:
		interval /= eager
	case !p.proved():
		interval /= 2
	}
	return min(interval, linkTimeout/2)
}
