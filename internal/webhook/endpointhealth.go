package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// holdAfter is how many events in a row an endpoint may refuse before it seems
// to be down.
const holdAfter = 5

// condition is how an endpoint fares, as one node sees it.
type condition struct {
	min, max time.Duration // of the pause between events while it seems down

	mu sync.Mutex
	// failures counts the refusals since the last success.
	failures int
	// pauses counts the pauses since then.
	pauses int
	// until is when the next event from the log may be tried.
	until time.Time
	// quiet is how long the endpoint has asked to be left alone.
	quiet time.Time
	// failingSince is what all nodes know: since when nothing has succeeded.
	failingSince time.Time
	// changed is closed when the endpoint answers again.
	changed chan struct{}
}

func newCondition(config Config) *condition {
	return &condition{min: config.HoldMin, max: config.HoldMax, changed: make(chan struct{})}
}

// learn takes over what another node has noted.
func (c *condition) learn(h healthRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failingSince = h.FailingSince
}

// resting reports whether the endpoint seems to be down, or has asked to be left
// alone.
func (c *condition) resting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures >= holdAfter || !c.until.IsZero()
}

// asked is for how long the endpoint has still asked to be left alone.
func (c *condition) asked() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, time.Until(c.quiet))
}

// hold gives the time before which no event from the log is to be tried, and a
// channel that is closed if that changes.
func (c *condition) hold() (until time.Time, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until, c.changed
}

// succeeded notes a success. recovered says that it ends a time of failing, and
// wasDown that the endpoint had seemed to be down.
func (c *condition) succeeded() (recovered, wasDown bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recovered, wasDown = !c.failingSince.IsZero(), c.failures >= holdAfter
	if wasDown || !c.until.IsZero() {
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.failures, c.pauses = 0, 0
	c.until, c.quiet, c.failingSince = time.Time{}, time.Time{}, time.Time{}
	return recovered, wasDown
}

// failed notes that an event was refused; wait is how long the endpoint asked to
// be left alone. first says that the time of failing begins.
func (c *condition) failed(at time.Time, wait time.Duration) (first bool, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if wait > 0 {
		c.quiet = at.Add(wait)
	}
	// What was under way when a pause began does not make the next one longer.
	if c.failures >= holdAfter && !at.Before(c.until) {
		wait = max(wait, min(c.max, c.min<<min(c.pauses, 16)))
		c.pauses++
	}
	if wait > 0 {
		if until := at.Add(jitter(wait)); until.After(c.until) {
			c.until = until
		}
	}
	if first = c.failingSince.IsZero(); first {
		c.failingSince = at.UTC()
	}
	return first, c.failingSince
}

// succeeded notes that the endpoint answers.
func (e *endpoint) succeeded(ctx context.Context) {
	recovered, wasDown := e.health.succeeded()
	if recovered {
		if _, err := e.registry.noteHealth(ctx, e.hook.ID, func(h *healthRecord) { h.FailingSince, h.Error = time.Time{}, "" }); err != nil {
			e.config.Logger.Warn("note that a webhook works again", "webhook", e.hook.ID, "error", err)
		}
	}
	if wasDown {
		e.config.Logger.Info("a webhook's endpoint answers again", "webhook", e.hook.ID)
		if err := e.retries.hasten(ctx, e.hook.ID); err != nil {
			e.config.Logger.Warn("send a webhook what it did not take", "webhook", e.hook.ID, "error", err)
		}
	}
}

// failed notes that the endpoint did not take an event, and disables the webhook
// after too long a time without a success. What cannot be noted is found out
// again with the next event.
func (e *endpoint) failed(ctx context.Context, a answer) {
	first, since := e.health.failed(time.Now(), a.wait)
	if first {
		h, err := e.registry.noteHealth(ctx, e.hook.ID, func(h *healthRecord) {
			if h.FailingSince.IsZero() {
				h.FailingSince, h.Error = kvbucket.Now(), a.failure
			}
		})
		if err != nil {
			e.config.Logger.Warn("note that a webhook fails", "webhook", e.hook.ID, "error", err)
			return
		}
		since = h.FailingSince
	}
	if time.Since(since) < e.config.DisableAfter {
		return
	}
	// Another node may reach it where this one cannot.
	last, err := e.attempts.lastSuccess(ctx, e.hook.ID)
	if err == nil && !last.After(since) {
		_, err = e.disable(ctx, e.hook.ID, Failing,
			fmt.Sprintf("no request has succeeded since %s; the last time, %s", since.UTC().Format(time.RFC3339), a.failure))
		err = ignoreGone(err)
	}
	if err != nil {
		e.config.Logger.Warn("disable a webhook that has failed for long", "webhook", e.hook.ID, "error", err)
	}
}
