package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/postern-mail/postern/internal/eventlog"
)

// deliverInOrder tries an event until it is taken or given up, and holds up all
// that follow. The event stays where it is in the log's durable reader, which
// gives no other one meanwhile, on any node. How often it was tried is kept, so
// that a restart does not begin from the start.
func (e *endpoint) deliverInOrder(ctx context.Context, given *eventlog.Given) {
	j := newJob(e.hook.ID, given.Entry)
	stuck, _, err := e.registry.health(ctx, e.hook.ID)
	if err != nil {
		_ = given.Back()
		return
	}
	if stuck.Event == j.id {
		j.attempts = stuck.Attempts
	}
	for {
		a, err := e.attempt(ctx, &j, given.Extend)
		switch {
		case err == nil:
		case errors.Is(err, errNoBody) && ctx.Err() == nil:
			if e.waitInPlace(ctx, given, e.config.HoldMax/bodyTries) {
				continue
			}
			return
		case e.setAside(ctx, j, err) == nil:
			_ = given.Ack()
			return
		default:
			_ = given.Back() // the work ends here; another node may go on
			return
		}
		wait, done, err := e.settleInOrder(ctx, j, a)
		switch {
		case err != nil:
			e.config.Logger.Warn("an event for a webhook is left to be tried again", "webhook", e.hook.ID, "event", j.id, "error", err)
			return // it comes again when AckWait is over
		case done:
			_ = given.Ack() // if it is lost, the event comes once more
			return
		}
		if !e.waitInPlace(ctx, given, wait) {
			return
		}
	}
}

// settleInOrder does what follows from an answer: done, or another attempt after
// a wait.
func (e *endpoint) settleInOrder(ctx context.Context, j job, a answer) (wait time.Duration, done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	switch a.verdict {
	case taken:
		e.note(j, a, Succeeded, time.Time{})
		e.succeeded(ctx)
		return 0, true, nil
	case gone:
		return 0, true, e.giveUpOn(ctx, j, a)
	}
	s := e.config.Schedule
	if j.attempts < s.quickTries() && a.verdict == refused {
		wait = jitter(s.Quick[j.attempts-1])
	} else {
		var more bool
		if wait, more = s.next(max(0, j.attempts-s.quickTries())); !more {
			if err := e.dead.add(ctx, j, a.status, a.failure); err != nil {
				return 0, false, err
			}
			e.note(j, a, Exhausted, time.Time{})
			e.failed(ctx, a)
			return 0, true, nil
		}
		_, err = e.registry.noteHealth(ctx, e.hook.ID, func(h *healthRecord) { h.Event, h.Attempts = j.id, j.attempts })
		if err != nil {
			return 0, false, err
		}
	}
	wait = max(wait, a.wait)
	e.note(j, a, Failed, time.Now().Add(wait))
	e.failed(ctx, a)
	return wait, false, nil
}

// waitInPlace keeps an event in hand for a while. It gives the event back and
// returns false when ctx ends.
func (e *endpoint) waitInPlace(ctx context.Context, given *eventlog.Given, wait time.Duration) bool {
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		pause(ctx, min(left, e.config.AckWait/3))
		if ctx.Err() != nil {
			_ = given.Back()
			return false
		}
		_ = given.Extend()
	}
}
