package requestid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// beat is how often a call under way says that it is, and stale how long
	// after the last time it is taken to have died.
	beat  = 10 * time.Second
	stale = 45 * time.Second
	// settleTimeout bounds the writing down of an outcome, which does not end
	// with the caller's patience.
	settleTimeout = 10 * time.Second
)

// ErrInProgress says that a call with the request id is under way.
var ErrInProgress = errors.New("a call with the request id is under way")

// An UncertainError wraps the error of a call that may have done its work.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string { return e.Err.Error() }

// Unwrap returns the error as the caller of [Store.Do] is to see it.
func (e *UncertainError) Unwrap() error { return e.Err }

// Do gives what came of a request: of its first attempt, or else of run, which
// returns it. scope, id and content are as for [Store.Begin]; an outcome must
// not be empty. While a call is under way, others with the same request fail
// with [ErrInProgress]: whoever does not get an answer in time asks again
// before the first call has ended.
//
// again tells run that an earlier call died in the midst of its work, or failed
// with an [*UncertainError], so that the work may have been done. After any
// other error of run the request counts as not made.
func (s *Store) Do(ctx context.Context, scope, id string, content []byte, run func(ctx context.Context, again bool) (string, error)) (string, error) {
	return s.DoPlanned(ctx, scope, id, content, "", func(ctx context.Context, _ string, again bool) (string, error) { return run(ctx, again) })
}

// DoPlanned is Do for work that begins with a decision, such as the ids of what is
// to be made. run is given the plan of the first call that may have done some of the
// work, so that it can tell what is done already.
func (s *Store) DoPlanned(ctx context.Context, scope, id string, content []byte, plan string,
	run func(ctx context.Context, plan string, again bool) (string, error),
) (string, error) {
	a, err := s.Begin(ctx, scope, id, content, plan)
	switch {
	case err != nil:
		return "", err
	case a.store == nil:
		return run(ctx, a.Plan, false)
	case a.Outcome != "":
		return a.Outcome, nil
	case a.Repeated && !a.uncertain && time.Since(a.written) < s.stale:
		return "", ErrInProgress
	case a.Repeated:
		a.uncertain = false
		if err := a.write(ctx); err != nil {
			return "", fmt.Errorf("%w: %w", ErrInProgress, err) // somebody else was faster
		}
	}
	outcome, err := a.whileBeating(ctx, func(ctx context.Context) (string, error) { return run(ctx, a.Plan, a.Repeated) })
	a.settle(ctx, outcome, err)
	return outcome, err
}

// write replaces what is kept of the request, unless somebody else has.
func (a *Attempt) write(ctx context.Context) error {
	value, err := a.encode()
	if err != nil {
		return err
	}
	revision, err := a.store.kv.Update(ctx, a.Key, value, a.revision)
	if err == nil {
		a.revision = revision
	}
	return err
}

// whileBeating runs a call and says meanwhile that it is under way.
func (a *Attempt) whileBeating(ctx context.Context, run func(context.Context) (string, error)) (string, error) {
	done, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(a.store.beat)
		defer ticker.Stop()
		for {
			select {
			case <-done.Done():
				return
			case <-ticker.C:
			}
			a.heartbeat(ctx)
		}
	})
	defer beating.Wait()
	defer stop()
	return run(ctx)
}

// heartbeat writes a request anew, which renews its time. One that is lost
// matters only when many are. It is not cut short by the end of the call, lest
// nobody knows which revision the outcome replaces.
func (a *Attempt) heartbeat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_ = a.write(ctx)
}

// settle writes the outcome down. If that fails the request stays as begun, and
// the next call with it is told so.
func (a *Attempt) settle(ctx context.Context, outcome string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var uncertain *UncertainError
	switch {
	case err == nil:
		a.Outcome = outcome
	case errors.As(err, &uncertain):
		a.uncertain = true
	default:
		_ = a.store.kv.Purge(ctx, a.Key, jetstream.LastRevision(a.revision))
		return
	}
	_ = a.write(ctx)
}
