package eventlog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Frame is what a [Subscription] gives: an entry, or, with a nil Entry, only
// the news that nothing up to Cursor was chosen that was not given.
type Frame struct {
	Entry  *Entry
	Cursor Cursor
}

// Subscription gives the events that a filter chooses, each once and in the
// order of the log, the past first and then as they come. It is used by one
// goroutine and has none of its own.
type Subscription struct {
	log    *Log
	hub    *hub
	filter Filter
	from   uint64 // the hub gives what comes after; set when it is joined

	// What follows belongs to the caller of Next.
	started  bool
	live     bool
	position uint64   // everything up to here was given
	past     []*Entry // read from the log and not given yet
	pastEnd  uint64   // the position behind past
	closed   bool

	wake chan struct{} // has a token when queue or err may have changed

	mu    sync.Mutex // taken with hub.mu held, never the other way round
	queue []*Entry   // from the hub, not given yet
	slow  bool       // the queue was full and the hub has let go
	err   error      // the hub has ended
}

// Watch subscribes to what the filter chooses after a cursor; the zero Cursor
// begins with what there is, and [Log.Head] with what comes next. ctx bounds
// only the start. It fails with [*CursorExpiredError] as [Log.List] does.
//
// The caller closes the subscription.
func (l *Log) Watch(ctx context.Context, f Filter, after Cursor) (*Subscription, error) {
	b, err := l.bounds(ctx)
	if err != nil {
		return nil, err
	}
	position, err := b.resume(after)
	if err != nil {
		return nil, err
	}
	h, err := l.acquireHub()
	if err != nil {
		return nil, err
	}
	// The hub finds a subscription by its accounts, once each.
	f.Accounts = slices.Clip(dedupe(f.Accounts))
	f.Types = slices.Clip(dedupe(f.Types))
	return &Subscription{log: l, hub: h, filter: f, position: position, wake: make(chan struct{}, 1)}, nil
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.hub.leave(s)
	s.log.releaseHub(s.hub)
}

// Cursor is the position behind what was given.
func (s *Subscription) Cursor() Cursor { return s.log.at(s.position) }

// Next gives the next frame. The first comes at once and has only the cursor
// that the subscription starts from; then each event is a frame, and when none
// was chosen for the heartbeat's length, a frame without an event moves the
// cursor past those that were not.
//
// Next fails with
//   - [*SlowConsumerError] when the caller has fallen too far behind,
//   - [*CursorExpiredError] when the log dropped what comes next before it
//     was given, or was made anew,
//   - [ErrClosed] after [Log.Close],
//   - ctx's error, after which Next may be called again.
func (s *Subscription) Next(ctx context.Context) (Frame, error) {
	if s.closed {
		return Frame{}, ErrClosed
	}
	if !s.started {
		s.started = true
		return s.frame(nil), nil
	}
	// Spread, so that many watchers of a quiet log do not wake at once.
	heartbeat := s.log.config.Heartbeat*3/4 + rand.N(s.log.config.Heartbeat/2) //nolint:gosec // spreads, hides nothing
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for {
		entry, err := s.take(ctx)
		if entry != nil || err != nil {
			return s.frame(entry), err
		}
		if !s.live {
			// The past is being read; a long stretch without a match must not
			// look like a dead connection.
			select {
			case <-timer.C:
				return s.frame(nil), nil
			default:
				continue
			}
		}
		select {
		case <-s.wake:
		case <-timer.C:
			return s.frame(nil), nil
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		}
	}
}

func (s *Subscription) frame(e *Entry) Frame { return Frame{Entry: e, Cursor: s.Cursor()} }

// take gives the next entry if there is one at hand. While the subscription is
// not live it reads a page of the past first, or joins the hub.
func (s *Subscription) take(ctx context.Context) (*Entry, error) {
	if len(s.past) > 0 {
		e := s.past[0]
		s.past[0], s.past = nil, s.past[1:]
		s.position = e.Sequence()
		return e, nil
	}
	s.position = max(s.position, s.pastEnd)
	if !s.live {
		return nil, s.catchUp(ctx)
	}
	// The hub's position is read first: what the queue lacks after that has a
	// higher sequence.
	position := s.hub.positionNow()
	e, err := s.pop()
	switch {
	case e != nil:
		s.position = e.Sequence()
	case err == nil:
		s.position = max(s.position, position)
	}
	return e, err
}

// catchUp joins the hub if it can, and otherwise reads a page of what lies
// between the subscription and the hub.
func (s *Subscription) catchUp(ctx context.Context) error {
	select {
	case <-s.hub.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	joined, upTo, err := s.hub.join(s, s.position)
	if joined || err != nil {
		s.live = joined
		return err
	}
	// Retention may have come past a watcher that took its time.
	b, err := s.log.bounds(ctx)
	if err != nil {
		return err
	}
	if _, err := b.resume(s.Cursor()); err != nil {
		return err
	}
	p, err := s.log.page(ctx, s.filter, s.position, upTo, prefetchLimit)
	if err != nil {
		return fmt.Errorf("read the past for a watcher: %w", err)
	}
	s.past, s.pastEnd = p.entries, p.position
	return nil
}

// push queues an entry; it returns false when the queue is full, and then the
// subscription gets nothing more. The hub calls it with its lock held.
func (s *Subscription) push(e *Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= s.log.config.Backlog {
		s.slow = true
	} else {
		s.queue = append(s.queue, e)
	}
	s.signal()
	return !s.slow
}

// pop takes the oldest entry of the queue. What was queued before an error is
// given before it.
func (s *Subscription) pop() (*Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.queue) > 0:
		e := s.queue[0]
		s.queue[0], s.queue = nil, s.queue[1:]
		if len(s.queue) == 0 {
			s.queue = nil // lets go of the array
		}
		return e, nil
	case s.slow:
		return nil, &SlowConsumerError{Cursor: s.Cursor()}
	}
	return nil, s.err
}

// fail ends the subscription with an error. The hub calls it with its lock
// held.
func (s *Subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
