package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// Cancel gives a submission up that is not being sent. It fails with [ErrNotFound],
// and with a [*StateError] once it is being sent or has ended; canceling what is
// canceled already is no error.
func (s *Store) Cancel(ctx context.Context, account, id string) (*Submission, error) {
	return s.Update(ctx, account, id, func(sub *Submission) error {
		switch sub.State {
		case Canceled:
			return nil
		case Scheduled, Queued, Deferred:
		default:
			return &StateError{State: sub.State, Want: "SCHEDULED, QUEUED or DEFERRED"}
		}
		for _, r := range sub.asked() {
			r.State = RecipientCanceled
		}
		sub.become(Canceled, time.Now().UTC(), "")
		return nil
	})
}

// Retry sends a submission again at once: one that waits for its next attempt, one
// that has failed to the recipients that were refused, or one that is in doubt,
// which may then arrive twice. It fails with [ErrNotFound], with a [*StateError] in
// other states, with a [*BodyError] where the message is no longer kept, and with a
// [*limit.FullError].
func (s *Store) Retry(ctx context.Context, account, id string, giveUp time.Duration) (_ *Submission, err error) {
	submission, err := s.Get(ctx, account, id)
	if err != nil {
		return nil, err
	}
	if submission.State.Final() {
		hold := s.quotas.submissions.Hold(account)
		defer func() { hold.Done(err == nil) }()
		if err := hold.Take(ctx, 1); err != nil {
			return nil, err
		}
	}
	// Before the change, so that it is not forgotten by a crash in between.
	if err := s.reopen(ctx, account, id, len(submission.Transitions)); err != nil {
		return nil, err
	}
	if _, err := s.openMessage(ctx, submission); err != nil {
		return nil, err
	}
	return s.Update(ctx, account, id, func(sub *Submission) error { return sub.retry(time.Now().UTC(), giveUp) })
}

// retry makes a submission due now.
func (s *Submission) retry(now time.Time, giveUp time.Duration) error {
	switch s.State {
	case Deferred:
		s.NextAttempt = now
		return nil
	case Failed, PartiallyRejected, Uncertain:
	default:
		return &StateError{State: s.State, Want: "DEFERRED, FAILED, PARTIALLY_REJECTED or UNCERTAIN"}
	}
	again := func(r Recipient) bool { return r.State == RecipientRejected || r.State == RecipientUncertain }
	if !slices.ContainsFunc(s.Recipients, again) { // all that were in doubt came back
		return &StateError{State: s.State, Want: "one with recipients that were refused or are in doubt"}
	}
	for i := range s.Recipients {
		r := &s.Recipients[i]
		if again(*r) {
			r.State, r.Reply = RecipientPending, smtpconn.Reply{}
		}
	}
	s.EndTime, s.Saved, s.SaveAttempts = time.Time{}, false, 0
	s.NextAttempt, s.GiveUpTime = now, now.Add(giveUp)
	s.become(Queued, now, "")
	return nil
}

// reopen notes that something is left to do for a submission, whether or not there
// was: it changes the revision of what notes that, so that nobody who saw it done
// forgets it.
func (s *Store) reopen(ctx context.Context, account, id string, told int) error {
	key, act := openKey(account, id), "open submission "+id
	return kvbucket.Change(ctx, act, func() error {
		entry, err := s.shard(id).Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return s.open(ctx, account, id, told)
		}
		if err == nil {
			_, err = s.shard(id).Update(ctx, key, entry.Value(), entry.Revision())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
}
