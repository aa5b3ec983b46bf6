package main

import (
	"context"
	"sync"
	"time"
)

// traffic is what other clients do to the mailboxes in the background.
type traffic struct {
	working sync.WaitGroup
	gap     time.Duration

	mu   sync.Mutex
	due  time.Time
	left []*mailbox // on which there is something to be done
	done int
}

// traffic has clients act on mailboxes at random, n times in all, evenly over a
// time, or as fast as they can. Where that fails, because the server is away,
// they try again until the test is over.
func (p *proof) traffic(n int, over time.Duration, act func(*mailbox) bool) *traffic {
	const clients = 4
	t := &traffic{due: time.Now(), gap: over / time.Duration(max(n, 1))}
	for range n {
		t.left = append(t.left, p.mailboxes[p.random.IntN(len(p.mailboxes))])
	}
	for range clients {
		t.working.Go(func() { t.work(p.t.Context(), act) })
	}
	return t
}

func (t *traffic) work(ctx context.Context, act func(*mailbox) bool) {
	rest := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	for m, due := t.next(); m != nil; m, due = t.next() {
		if !rest(time.Until(due)) {
			return
		}
		for !act(m) {
			if !rest(20 * time.Millisecond) {
				return
			}
		}
		t.mu.Lock()
		t.done++
		t.mu.Unlock()
	}
}

// next gives a mailbox to act on, and when.
func (t *traffic) next() (m *mailbox, due time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.left) == 0 {
		return nil, due
	}
	m = t.left[0]
	t.left = t.left[1:]
	t.due = t.due.Add(t.gap)
	return m, t.due
}

// wait waits until all is done, and returns how much that was.
func (t *traffic) wait() int {
	t.working.Wait()
	return t.done
}
