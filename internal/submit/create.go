package submit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// Create stores a submission with its message and returns it once both are
// synced. The account, the envelope and the id, one of [NewID], are the caller's, the
// times and the state are not. write writes the message, and may set what only that
// tells, such as whether it needs 8BITMIME.
//
// Creating what there is already, under the same id, returns that: the caller has
// seen to it that an id stands for one request. It fails as write does, and with a
// [*limit.FullError].
func (s *Store) Create(ctx context.Context, submission *Submission, giveUp time.Duration, write WriteFunc) (_ *Submission, err error) {
	made := submission.clone()
	if earlier, err := s.Get(ctx, made.Account, made.ID); !errors.Is(err, ErrNotFound) {
		return earlier, err
	}
	hold := s.quotas.submissions.Hold(made.Account)
	defer func() { hold.Done(err == nil) }()
	if err := hold.Take(ctx, 1); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	made.CreateTime = now
	// Whoever creates the same at the same time writes a body of his own.
	made.BodyID = rand.Text()
	made.message, made.Size, err = s.bodies.put(ctx, made.bodyRef(), maxInline, func(w io.Writer) error { return write(w, made) })
	if err != nil {
		return nil, err
	}
	if made.message != nil {
		made.BodyID = ""
	}
	start(made, now, giveUp)
	if err := s.open(ctx, made.Account, made.ID, 0); err != nil {
		return nil, err
	}
	if err := s.index(ctx, made); err != nil {
		return nil, err
	}
	value, err := made.encode()
	if err != nil {
		return nil, err
	}
	made.Revision, err = s.shard(made.ID).Create(ctx, submissionKey(made.Account, made.ID), value)
	if kvbucket.IsConflict(err) {
		return s.createdMeanwhile(ctx, made)
	}
	if err != nil {
		return nil, fmt.Errorf("store the submission: %w", err)
	}
	s.waiting.tell(made)
	return made, nil
}

// createdMeanwhile gives what was created at the same time under the same id, whose
// message counts.
func (s *Store) createdMeanwhile(ctx context.Context, made *Submission) (*Submission, error) {
	earlier, err := s.Get(ctx, made.Account, made.ID)
	if err == nil && made.BodyID != "" {
		err = s.bodies.drop(ctx, made.bodyRef())
	}
	return earlier, err
}

// start gives a new submission its first state.
func start(s *Submission, now time.Time, giveUp time.Duration) {
	s.NextAttempt = now
	state := Queued
	if s.SendTime.After(now) {
		state, s.NextAttempt = Scheduled, s.SendTime
	}
	s.GiveUpTime = s.NextAttempt.Add(giveUp)
	for i := range s.Recipients {
		if s.Recipients[i].State == "" { // not blocked
			s.Recipients[i].State = RecipientPending
		}
	}
	s.become(state, now, "")
}

// WriteFunc writes the message of a submission.
type WriteFunc func(w io.Writer, made *Submission) error
