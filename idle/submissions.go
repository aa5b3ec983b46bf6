package idle

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/submit"
)

// Submissions knows what became of the mail that accounts send.
// [github.com/postern-mail/postern/internal/submit.Store] is one.
type Submissions interface {
	// Changes calls changed with the submissions of which there may be something to
	// tell, until ctx ends.
	Changes(ctx context.Context, changed func(account, id string)) error
	// Untold gives what is to be told of some of an account's submissions, or all.
	Untold(ctx context.Context, account string, ids []string, limit int) ([]submit.Untold, error)
	// Told notes up to where a submission was told of.
	Told(ctx context.Context, account, id string, number int) error
	// Match gives the id of the submission of a message, or none.
	Match(ctx context.Context, account, messageID, envelopeID string) (string, error)
	// Bounced notes that a message came back from recipients.
	Bounced(ctx context.Context, account, id string, addresses []string) error
	// Forget drops an account's submissions.
	Forget(ctx context.Context, account string) error
}

// followSubmissions hands on of which submissions there may be something to tell. Like
// a push of a mail server that is only a hint to look.
func (s *Supervisor) followSubmissions(ctx context.Context) {
	tryUntilDone(ctx, s.config.Logger, "watch the submissions", func(ctx context.Context) error {
		return s.config.Submissions.Changes(ctx, s.submitted)
	})
}

// submitted notes that there may be something to tell of a submission.
func (s *Supervisor) submitted(account, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending[account] = true
	if running := s.owners[account]; running != nil && running.owner != nil {
		running.owner.changed.submitted(id)
	}
}

const (
	// toldAtOnce bounds what is read of the submissions at a time.
	toldAtOnce = 100
	// mostSubmitted is how many submissions are remembered to have something to be
	// told of; when there are more, all are looked at.
	mostSubmitted = 1000
)

// submissionSet says which of an account's submissions are to be looked at.
type submissionSet struct {
	all bool
	ids map[string]bool
}

func (s *submissionSet) add(id string) {
	if len(s.ids) == mostSubmitted {
		s.all, s.ids = true, nil
	}
	if s.all {
		return
	}
	if s.ids == nil {
		s.ids = make(map[string]bool)
	}
	s.ids[id] = true
}

// any reports whether there are any.
func (s *submissionSet) any() bool { return s.all || len(s.ids) > 0 }

// list gives their ids, in their order, nil for all.
func (s *submissionSet) list() []string {
	if s.all {
		return nil
	}
	return slices.Sorted(maps.Keys(s.ids))
}

// submitted tells the owner that there may be something to tell of a submission. Any
// goroutine may call it.
func (c *changed) submitted(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.submissions.add(id)
	c.rouse()
}

// allSubmitted tells the owner to look at all of the account's submissions.
func (c *changed) allSubmitted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.submissions = submissionSet{all: true}
	c.rouse()
}

// tellSubmissions tells of what became of the account's submissions with the given
// ids, nil for all. Telling and noting that it was told are two steps: what was told
// and not noted, the log says, and whoever takes the account notes it then, see
// [owner.take].
func (o *owner) tellSubmissions(ctx context.Context, ids []string) error {
	for {
		untold, err := o.config.Submissions.Untold(ctx, o.id(), ids, toldAtOnce)
		if err != nil {
			return logFailed(err)
		}
		if len(untold) == 0 {
			return nil
		}
		var facts []event.Data
		last := make(map[string]int)
		for i := range untold {
			u := &untold[i]
			last[u.Submission.ID] = u.Number
			facts = append(facts, factOf(u))
		}
		if err := o.tell(ctx, facts...); err != nil {
			return err
		}
		if err := o.noteTold(ctx, last); err != nil {
			// Only the log knows now that it was told, so nothing may be saved
			// that would keep this part of it from being replayed.
			o.writer = nil
			return err
		}
		if len(untold) < toldAtOnce {
			return nil // of what comes meanwhile there is word
		}
	}
}

// noteTold notes up to where submissions were told of.
func (o *owner) noteTold(ctx context.Context, numbers map[string]int) error {
	if o.config.Submissions == nil {
		return nil
	}
	// Each waits for the disk, and they do so side by side.
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(notedAtOnce)
	for id, number := range numbers {
		group.Go(func() error { return o.config.Submissions.Told(ctx, o.id(), id, number) })
	}
	if err := group.Wait(); err != nil {
		return logFailed(err)
	}
	return nil
}

// notedAtOnce is how many submissions are noted side by side to have been told of.
const notedAtOnce = 8

// factOf is what a step of a submission is to the world.
func factOf(u *submit.Untold) event.Data {
	s := u.Submission
	base := event.Submission{
		Submission: event.SubmissionName(s.Account, s.ID), State: string(u.State), MessageID: s.MessageID,
		Attempt: u.Attempt, Detail: u.Detail, Number: uint64(u.Number),
	}
	for i := range s.Recipients {
		r := &s.Recipients[i]
		base.Recipients = append(base.Recipients, event.SubmissionRecipient{
			Address: r.Address, State: string(r.State), SMTPCode: r.Reply.Code, EnhancedCode: r.Reply.Enhanced, Text: r.Reply.Text,
		})
	}
	switch u.State {
	case submit.Sent, submit.PartiallyRejected:
		return &event.SubmissionSent{Submission: base}
	case submit.Deferred:
		return &event.SubmissionDeferred{Submission: base}
	case submit.Failed:
		return &event.SubmissionFailed{Submission: base}
	case submit.Uncertain:
		return &event.SubmissionUncertain{Submission: base}
	case submit.Canceled:
		return &event.SubmissionCanceled{Submission: base}
	}
	return &event.SubmissionQueued{Submission: base}
}

// between waits until the next attempt to reach the server is due, or, once the
// server is back, may be made. What there is to tell meanwhile does not wait for
// it.
func (o *owner) between(ctx context.Context, due time.Time, back <-chan struct{}, early time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-back:
			back = nil
			if early.Before(due) {
				timer.Reset(time.Until(early))
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-o.changed.wake:
		}
		if o.writer == nil {
			continue // the account is not taken; it will be, by the next attempt
		}
		if err := o.takeUpdate(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("tell of what changed while the server is away", "error", err)
			o.writer = nil
			return nil
		}
	}
}

// whilePaused tells of what there is to tell of an account that is not watched: mail
// can be sent from it all the same.
func (o *owner) whilePaused(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			// Nothing is saved: that the account was paused has to be found in the
			// log, by whoever is to tell that it goes on.
			return
		case <-o.changed.wake:
		}
		tryUntilDone(ctx, o.log, "tell of a paused account", func(ctx context.Context) error {
			if o.writer == nil {
				if err := o.take(ctx); err != nil {
					o.writer = nil
					return err
				}
			}
			return o.takeUpdate(ctx)
		})
		if ctx.Err() == nil {
			o.setState(ctx, account.Paused, pausedDetail)
		}
	}
}
