package gateway

import (
	"context"
	"fmt"
	"sync"
)

// turns lets calls about the same thing take turns.
type turns struct {
	mu     sync.Mutex
	queues map[string]*queue
}

type queue struct {
	turn    chan struct{}
	holders int // and those who wait
}

// take waits for the turn of key. done gives it up.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	if t.queues == nil {
		t.queues = make(map[string]*queue)
	}
	q := t.queues[key]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		t.queues[key] = q
	}
	q.holders++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.holders--; q.holders == 0 {
			delete(t.queues, key)
		}
	}
	select {
	case q.turn <- struct{}{}:
		return func() { <-q.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("wait for another call about the same: %w", ctx.Err())
	}
}
