package webhook

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// One endpoint that does not answer and one that only fails do not keep others
// from their events, nor their own due events from being tried.
func TestBadEndpointsHoldUpNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Timeout, c.AckWait = patience, 2*patience })
	release := make(chan struct{})
	hangs := newSink(t, func(request) int { <-release; return http.StatusOK })
	fails := newSink(t, func(request) int { return http.StatusInternalServerError })
	good := newSink(t, nil)
	for _, s := range []*sink{hangs, fails, good} {
		h.hook(s.URL, nil)
	}
	h.run()
	t.Cleanup(func() { close(release) }) // before the end waits for what is under way
	ids := h.happen("ann", 500)
	good.untilAccepted(t, ids)
	hangs.until(t, "as many requests as may be under way", func() bool { return len(hangs.got) == DefaultConcurrency })
	if len(hangs.accepted) != 0 {
		t.Error("the endpoint has answered")
	}
}

// BenchmarkIsolation measures how long events take to an endpoint that is well,
// beside two others that are, and beside one that answers late and one that
// fails. The two take turns, so that what else the machine does meets both.
func BenchmarkIsolation(b *testing.B) {
	for range b.N {
		var well, bad []time.Duration
		for range 4 {
			well = append(well, delays(b, false)...)
			bad = append(bad, delays(b, true)...)
		}
		for _, percent := range []int{50, 99} {
			b.ReportMetric(float64(percentile(well, percent).Microseconds())/1000, fmt.Sprintf("well-p%d-ms", percent))
			b.ReportMetric(float64(percentile(bad, percent).Microseconds())/1000, fmt.Sprintf("bad-p%d-ms", percent))
		}
		b.ReportMetric(float64(percentile(bad, 99))/float64(percentile(well, 99)), "p99-ratio")
	}
}

// delays are how long events take from before they are appended to the endpoint,
// at a steady pace.
func delays(b *testing.B, bad bool) []time.Duration {
	const events, pace = 1000, 4 * time.Millisecond
	h := newHouse(b, func(c *Config) { c.Schedule = DefaultSchedule() })
	good := newSink(b, nil)
	done := make(chan struct{})
	defer close(done)
	late := newSink(b, func(request) int {
		if bad {
			select { // beyond the time-out, which is 15 s
			case <-done:
			case <-time.After(30 * time.Second):
			}
		}
		return http.StatusOK
	})
	fails := newSink(b, func(request) int {
		if bad {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	for _, s := range []*sink{good, late, fails} {
		h.hook(s.URL, nil)
	}
	h.run()
	h.happen("ann", 20) // warms up
	good.until(b, "the warm-up", func() bool { return len(good.accepted) == 20 })
	begun := make(map[string]time.Time, events)
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for range events {
		<-ticker.C
		began := time.Now()
		begun[h.happen("ann", 1)[0]] = began
	}
	good.until(b, "all events", func() bool { return len(good.accepted) == events+20 })
	var took []time.Duration
	for _, r := range good.requests() {
		if at, ok := begun[r.id]; ok {
			took = append(took, r.at.Sub(at))
		}
	}
	return took
}
