package submit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// waiting are those who wait for submissions to change. What this process writes they
// are told of at once; what another node writes they see when they look.
type waiting struct {
	mu   sync.Mutex
	refs map[ref]map[chan *Submission]bool
}

func newWaiting() *waiting { return &waiting{refs: make(map[ref]map[chan *Submission]bool)} }

// join begins to wait for a submission. The channel has its latest state only.
func (w *waiting) join(r ref) (told chan *Submission, leave func()) {
	told = make(chan *Submission, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refs[r] == nil {
		w.refs[r] = make(map[chan *Submission]bool)
	}
	w.refs[r][told] = true
	return told, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.refs[r], told); len(w.refs[r]) == 0 {
			delete(w.refs, r)
		}
	}
}

// tell hands on what a submission has become.
func (w *waiting) tell(s *Submission) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for told := range w.refs[ref{s.Account, s.ID}] {
		select {
		case <-told: // what it was before
		default:
		}
		told <- s.clone()
	}
}

// waitPace is how often a submission is looked at, which another node may be sending.
const waitPace = 200 * time.Millisecond

// Wait returns a submission once it has come to rest: when it is neither queued
// nor being sent, or when ctx ends, in which case it returns the last it knows.
func (s *Store) Wait(ctx context.Context, submission *Submission) (*Submission, error) {
	told, leave := s.waiting.join(ref{submission.Account, submission.ID})
	defer leave()
	// At first it is looked at once, since it may have changed before.
	look := time.NewTimer(0)
	defer look.Stop()
	for submission.State == Queued || submission.State == Sending {
		select {
		case <-ctx.Done():
			return submission, nil
		case submission = <-told:
		case <-look.C:
			latest, err := s.Get(ctx, submission.Account, submission.ID)
			switch {
			case errors.Is(err, ErrNotFound), ctx.Err() != nil:
				return submission, nil
			case err != nil:
				return nil, err
			}
			submission = latest
			look.Reset(waitPace)
		}
	}
	return submission, nil
}
