package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/postern-mail/postern/internal/eventlog"
)

// endpoint sends events to one webhook with its present settings. Events that
// come from the log are tried a few times at once; what is not taken then is
// parked, so that one event that the endpoint cannot bear blocks nothing.
//
// An endpoint that refuses one event after the other seems to be down. It is
// then tried with one event at a time and a growing pause, and all others stay
// in the log, where they cost nothing; once it answers again everything flows.
type endpoint struct {
	*dispatcher
	hook   *Webhook
	health *condition
	stop   context.CancelFunc
	// slots bounds the requests under way, dueSlots the parked events in hand.
	slots, dueSlots *semaphore.Weighted
}

// dueInHand is how many parked events of one endpoint are in hand at a time.
const dueInHand = 16

func newEndpoint(d *dispatcher, hook *Webhook) *endpoint {
	return &endpoint{
		dispatcher: d, hook: hook, health: newCondition(d.config), stop: func() {},
		slots:    semaphore.NewWeighted(int64(hook.concurrency())),
		dueSlots: semaphore.NewWeighted(dueInHand),
	}
}

// run sends events until ctx ends. Requests under way then come to their end in
// goroutines that the dispatcher waits for.
func (e *endpoint) run(ctx context.Context) {
	if e.hook.Disabled != "" {
		e.tell(ctx)
		return
	}
	if h, _, err := e.registry.health(ctx, e.hook.ID); err == nil {
		e.health.learn(h)
	}
	for ctx.Err() == nil {
		err := e.read(ctx)
		if err != nil && ctx.Err() == nil {
			e.config.Logger.Info("reading the events of a webhook anew", "webhook", e.hook.ID, "error", err)
			pause(ctx, restartPause)
		}
	}
}

// read sends what a durable reader gives, until that fails, ctx ends, or the
// endpoint seems to be down: then what was fetched ahead must not lie here.
func (e *endpoint) read(ctx context.Context) error {
	if err := e.awaitTurn(ctx); err != nil {
		return err
	}
	reader, err := e.openReader(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		given, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		if !e.wants(ctx, e.hook, newJob(e.hook.ID, given.Entry)) {
			_ = given.Ack() // else it comes again, and is passed over again
			continue
		}
		if until, _ := e.health.hold(); !e.hook.Ordered && time.Now().Before(until) {
			_ = given.Back() // without it the event comes when AckWait is over
			return nil
		}
		switch {
		case e.hook.Ordered:
			e.deliverInOrder(ctx, given)
			continue
		case e.health.resting():
			e.deliver(ctx, given) // one at a time
		default:
			e.deliveries.Go(func() { e.deliver(ctx, given) })
		}
		if e.health.resting() {
			return nil
		}
	}
}

// openReader opens the webhook's place in the log, if the webhook is still as
// this endpoint knows it: another node may have deleted it, and its place.
func (e *endpoint) openReader(ctx context.Context) (*eventlog.Durable, error) {
	if err := e.opening.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer e.opening.Release(1)
	current, err := e.registry.load(ctx, e.hook.ID)
	if err != nil {
		return nil, err
	}
	if current.begin.generation != e.hook.begin.generation {
		return nil, errors.New("the webhook has been changed")
	}
	config := e.readerConfig(e.hook)
	if e.health.resting() {
		config.Prefetch = 1
	}
	reader, err := e.config.Log.Durable(ctx, config)
	if err != nil {
		return nil, err
	}
	if former := *e.hook; former.begin.generation > 1 {
		// A replay has left it behind.
		former.begin.generation--
		if err := e.config.Log.RemoveDurable(ctx, readerName(&former)); err != nil {
			e.config.Logger.Warn("remove the place in the log that a replay has left", "webhook", e.hook.ID, "error", err)
		}
	}
	return reader, nil
}

// awaitTurn waits while the endpoint is to be left alone.
func (e *endpoint) awaitTurn(ctx context.Context) error {
	for {
		until, changed := e.health.hold()
		wait := time.Until(until)
		if wait <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// deliver tries an event from the log, and parks it when it is not taken.
func (e *endpoint) deliver(ctx context.Context, given *eventlog.Given) {
	j := newJob(e.hook.ID, given.Entry)
	for try := 0; ; try++ {
		a, err := e.attempt(ctx, &j, given.Extend)
		if err != nil {
			if e.setAside(ctx, j, err) == nil {
				_ = given.Ack()
				return
			}
			_ = given.Back() // the work ends here; another node may go on
			return
		}
		last := a.verdict != refused || try+1 >= e.config.Schedule.quickTries() || e.health.resting()
		if !last {
			wait := jitter(e.config.Schedule.Quick[try])
			e.note(j, a, Failed, time.Now().Add(wait))
			if pause(ctx, wait); ctx.Err() != nil {
				_ = given.Back()
				return
			}
			continue
		}
		if err := e.settle(ctx, j, a); err != nil {
			e.config.Logger.Warn("an event for a webhook is left to be tried again", "webhook", e.hook.ID, "event", j.id, "error", err)
			return // it comes again when AckWait is over
		}
		_ = given.Ack() // if it is lost, the event comes once more
		return
	}
}

// takeDue tries a parked event whose time has come. It does not wait: an
// endpoint that has its hands full gets the event again in a while.
func (e *endpoint) takeDue(ctx context.Context, due dueJob) {
	wait := e.health.asked()
	if wait <= 0 && !e.dueSlots.TryAcquire(1) {
		wait = jitter(e.config.HoldMin)
	}
	if wait > 0 && e.hook.Disabled == "" {
		e.deliveries.Go(func() {
			if err := e.retries.park(ctx, due.job, wait); err == nil {
				_ = due.msg.Ack() // else it comes when AckWait is over
			}
		})
		return
	}
	e.deliveries.Go(func() {
		defer e.dueSlots.Release(1)
		if err := e.tryDue(ctx, due); err != nil {
			_ = due.msg.NakWithDelay(restartPause) // else it comes when AckWait is over
			return
		}
		_ = due.msg.Ack()
	})
}

func (e *endpoint) tryDue(ctx context.Context, due dueJob) error {
	j := due.job
	if e.hook.Disabled != "" {
		return e.dead.add(ctx, j, 0, "the webhook was disabled before the event could be sent")
	}
	a, err := e.attempt(ctx, &j, due.msg.InProgress)
	if err != nil {
		return e.setAside(ctx, j, err)
	}
	return e.settle(ctx, j, a)
}

// setAside does what follows from an attempt that could not be made: a body that
// cannot be read is waited for, what is not to be sent any more is dropped, and an
// event that nobody can send is given up. Otherwise the work ends here, and the
// error says so.
func (e *endpoint) setAside(ctx context.Context, j job, why error) error {
	switch {
	case ctx.Err() != nil:
		return why
	case errors.Is(why, ErrNotChosen):
		return nil
	case errors.Is(why, errNoBody):
		return e.retries.park(ctx, j, jitter(e.config.HoldMax/bodyTries))
	}
	return e.dead.add(ctx, j, 0, why.Error())
}

// bodyTries is how often a body that cannot be read is asked for in the time of
// the longest pause.
const bodyTries = 10

// attempt makes one request for a job, within the bounds on how many may be
// under way. It fails only when ctx ends before the request begins, when the
// webhook does not choose the event any more, and when the job's body has to be
// waited for. A request that has begun comes to its end.
// extend keeps the job from being given to another node meanwhile.
func (e *endpoint) attempt(ctx context.Context, j *job, extend func() error) (answer, error) {
	for _, bound := range []*semaphore.Weighted{e.slots, e.inFlight} {
		if err := e.acquire(ctx, bound, extend); err != nil {
			return answer{}, err
		}
		defer bound.Release(1)
	}
	// The event may have waited for a day.
	if !e.wants(ctx, e.hook, *j) {
		return answer{}, fmt.Errorf("event %s of webhook %s: %w", j.id, j.webhook, ErrNotChosen)
	}
	body, err := e.payload(ctx, j)
	if err != nil {
		return answer{}, err
	}
	_ = extend() // if it is lost, the event may come twice
	a := e.sender.send(context.WithoutCancel(ctx), e.hook, j.id, body)
	j.attempts++
	return a, nil
}

// acquire waits for a place within a bound, and extends the job's time.
func (e *endpoint) acquire(ctx context.Context, bound *semaphore.Weighted, extend func() error) error {
	for !bound.TryAcquire(1) {
		_ = extend() // if it is lost, the event may come twice
		waiting, cancel := context.WithTimeout(ctx, e.config.AckWait/3)
		err := bound.Acquire(waiting, 1)
		cancel()
		if err == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// payload is what is sent of a job.
func (e *endpoint) payload(ctx context.Context, j *job) ([]byte, error) {
	switch e.hook.Payload {
	case Thin:
		return thin(j.body)
	case FullBody:
		name := messageOf(j.typ, j.body)
		if name == "" {
			return j.body, nil
		}
		content, err := e.bodies.get(ctx, name)
		switch {
		case err == nil:
			return withBody(j.body, content, "")
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrMessageGone):
			return withBody(j.body, nil, bodyGone)
		case time.Since(j.stored) > e.config.BodyPatience:
			return withBody(j.body, nil, bodyUnavailable)
		}
		return nil, fmt.Errorf("%w: %w", errNoBody, err)
	}
	return j.body, nil
}

// errNoBody says that a message's body cannot be read at present.
var errNoBody = errors.New("the body cannot be read yet")

// finishing bounds the writes that follow a request.
const finishing = 10 * time.Second

// settle does what follows from the last answer to a job: nothing, another
// attempt later, or a dead letter. Once it returns nil the job's event need not
// be kept where it came from.
func (e *endpoint) settle(ctx context.Context, j job, a answer) error {
	// The request was made: what came of it is kept, even if all ends now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	if a.verdict == taken {
		e.note(j, a, Succeeded, time.Time{})
		e.succeeded(ctx)
		return nil
	}
	if a.verdict == gone {
		return e.giveUpOn(ctx, j, a)
	}
	wait, more := e.config.Schedule.next(j.parks)
	if !more && !j.hastened {
		if err := e.dead.add(ctx, j, a.status, a.failure); err != nil {
			return err
		}
		e.note(j, a, Exhausted, time.Time{})
		e.failed(ctx, a)
		return nil
	}
	if !j.hastened {
		j.parks++
	} else {
		// It goes back to where it was.
		wait, _ = e.config.Schedule.next(max(0, j.parks-1))
	}
	j.hastened = false
	wait = max(wait, a.wait)
	if err := e.retries.park(ctx, j, wait); err != nil {
		return err
	}
	e.note(j, a, Failed, time.Now().Add(wait))
	e.failed(ctx, a)
	return nil
}

// giveUpOn disables a webhook whose endpoint wants nothing any more.
func (e *endpoint) giveUpOn(ctx context.Context, j job, a answer) error {
	if err := e.dead.add(ctx, j, a.status, a.failure); err != nil {
		return err
	}
	e.note(j, a, Exhausted, time.Time{})
	_, err := e.disable(ctx, e.hook.ID, Gone, a.failure)
	return ignoreGone(err)
}

// ignoreGone: nobody needs to hear about a webhook that was deleted meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// note puts an attempt into the log of attempts.
func (e *endpoint) note(j job, a answer, outcome Outcome, next time.Time) {
	j.attempts-- // counted already
	out := newAttempt(j, a)
	out.Outcome, out.Next = outcome, next.UTC().Truncate(time.Millisecond)
	if next.IsZero() {
		out.Next = time.Time{}
	}
	e.attempts.add(e.hook.ID, out)
}
