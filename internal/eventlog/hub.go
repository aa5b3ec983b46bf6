package eventlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/event"
)

// distrust is how long the hub believes a silent consumer before it asks the
// stream whether there is really nothing new.
const distrust = 5 * time.Second

// hub reads the whole log once and gives each event to the subscriptions that
// choose it. A node has one while it has subscriptions.
type hub struct {
	log    *Log
	cancel context.CancelFunc // ends run
	ready  chan struct{}      // closed once position counts, or err is set
	users  int                // subscriptions that hold the hub; guarded by Log.mu

	mu sync.Mutex
	// position is the sequence of the last event that was given out; every
	// live subscription has been given what it chooses up to there.
	position uint64
	// ring holds the last events, so that a subscription that has nearly
	// caught up can join; floor is the position before its first.
	ring  []*Entry
	floor uint64
	err   error // why the hub ended

	byAccount map[string]map[*Subscription]struct{}
	ofAll     map[*Subscription]struct{} // filters that name no account
}

// ringBytes bounds the bodies that the ring keeps alive.
const ringBytes = 8 << 20

func newHub(l *Log, cancel context.CancelFunc) *hub {
	return &hub{
		log:       l,
		cancel:    cancel,
		ready:     make(chan struct{}),
		byAccount: make(map[string]map[*Subscription]struct{}),
		ofAll:     make(map[*Subscription]struct{}),
	}
}

// acquireHub gives the running hub, or starts it.
func (l *Log) acquireHub() (*hub, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.hub == nil {
		// The hub outlives the request that starts it: it ends with the last
		// subscription or with the log, which waits for it.
		ctx, cancel := context.WithCancel(context.Background())
		h := newHub(l, cancel)
		l.hub = h
		l.hubs.Go(func() { h.run(ctx) })
	}
	l.hub.users++
	return l.hub, nil
}

// releaseHub gives the hub back; without users it ends.
func (l *Log) releaseHub(h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.users--; h.users > 0 {
		return
	}
	h.cancel()
	if l.hub == h {
		l.hub = nil
	}
}

// detachHub makes the next subscription start another hub.
func (l *Log) detachHub(h *hub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hub == h {
		l.hub = nil
	}
}

// run follows the log until ctx ends or the log is not the one it was.
func (h *hub) run(ctx context.Context) {
	wait := backoff{min: 50 * time.Millisecond, max: 5 * time.Second}
	for {
		err := h.follow(ctx, &wait)
		switch {
		case ctx.Err() != nil:
			h.fail(ErrClosed)
			return
		case errors.As(err, new(*CursorExpiredError)):
			h.log.detachHub(h) // before its subscriptions hear of it and try again
			h.fail(err)
			return
		}
		h.log.config.Logger.Info("event log: following anew", "error", err)
		if wait.next(ctx) != nil {
			h.fail(ErrClosed)
			return
		}
	}
}

// follow reads through one consumer until that fails.
func (h *hub) follow(ctx context.Context, wait *backoff) error {
	position, err := h.resume(ctx)
	if err != nil {
		return err
	}
	r, err := h.log.openReader(ctx, []string{event.SubjectAll}, position+1, prefetchLimit)
	if err != nil {
		return err
	}
	defer r.close()
	heard := time.Now()
	for {
		entry, meta, err := r.next(ctx)
		if errors.Is(err, errQuiet) {
			if time.Since(heard) < distrust {
				continue
			}
			b, err := h.log.bounds(ctx)
			if err != nil {
				return err
			}
			if b.last > h.positionNow() {
				return errLost
			}
			heard = time.Now()
			continue
		}
		if err != nil {
			return err
		}
		wait.reset()
		heard = time.Now()
		h.dispatch(entry, meta.Sequence.Stream)
	}
}

// resume gives the position to read on from: the log's head at first, later
// what was given out last, if the log still is the one it was and has what
// comes next.
func (h *hub) resume(ctx context.Context) (uint64, error) {
	b, err := h.log.bounds(ctx)
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ready:
		return b.resume(h.log.at(h.position))
	default:
	}
	if _, err := b.resume(h.log.at(b.last)); err != nil {
		return 0, err // the stream was made anew since the log was opened
	}
	h.position, h.floor = b.last, b.last
	close(h.ready)
	return h.position, nil
}

func (h *hub) positionNow() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position
}

// dispatch gives an entry to the subscriptions that choose it; nil is a
// message that is not an event, which only moves the position.
func (h *hub) dispatch(e *Entry, sequence uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e != nil {
		h.remember(e)
		for s := range h.byAccount[e.Account] {
			h.offer(s, e)
		}
		for s := range h.ofAll {
			h.offer(s, e)
		}
	}
	h.position = sequence
}

// offer queues an entry for a subscription, or cuts the subscription off when
// its queue is full. A slow watcher must not hold up the others, nor make the
// node remember the log for it. h.mu is held.
func (h *hub) offer(s *Subscription, e *Entry) {
	if e.Sequence() > s.from && s.filter.Match(e) && !s.push(e) {
		h.removeLocked(s)
	}
}

// remember adds an entry to the ring and drops what is too much. h.mu is held.
func (h *hub) remember(e *Entry) {
	h.ring = append(h.ring, e)
	bytes := 0
	for i := len(h.ring) - 1; i >= 0; i-- {
		bytes += len(h.ring[i].Body)
		if bytes <= ringBytes && len(h.ring)-i <= h.log.config.Backlog {
			continue
		}
		h.floor = h.ring[i].Sequence()
		// Copied, so that the dropped entries are not kept by the array.
		h.ring = append(make([]*Entry, 0, 2*(len(h.ring)-i)), h.ring[i+1:]...)
		return
	}
}

// join makes a subscription live: it is given what it chooses after a
// position from the ring, and everything later as it comes. When the ring does
// not go back that far, join gives the position up to which the subscription
// has to read the log first.
func (h *hub) join(s *Subscription, after uint64) (joined bool, upTo uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return false, 0, h.err
	}
	if after < h.floor {
		return false, h.position, nil
	}
	// The subscription may be ahead of the hub: its cursor may be of an event
	// that is still under way to here.
	s.from = after
	for _, e := range h.ring {
		h.offer(s, e)
	}
	if len(s.filter.Accounts) == 0 {
		h.ofAll[s] = struct{}{}
	}
	for _, account := range s.filter.Accounts {
		if h.byAccount[account] == nil {
			h.byAccount[account] = make(map[*Subscription]struct{})
		}
		h.byAccount[account][s] = struct{}{}
	}
	return true, h.position, nil
}

// leave ends a subscription's live part.
func (h *hub) leave(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removeLocked(s)
}

func (h *hub) removeLocked(s *Subscription) {
	delete(h.ofAll, s)
	for _, account := range s.filter.Accounts {
		delete(h.byAccount[account], s)
		if len(h.byAccount[account]) == 0 {
			delete(h.byAccount, account)
		}
	}
}

// fail ends all live subscriptions with an error; only the first counts.
func (h *hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.err = err
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
	for s := range h.ofAll {
		s.fail(err)
	}
	for _, subscriptions := range h.byAccount {
		for s := range subscriptions {
			s.fail(err)
		}
	}
}
