package access

import (
	"sync"
	"time"
)

// Endings gives out the channels that tell principals of their end. All that end
// in the same second share one channel and one timer, so that it costs nothing
// to have many callers, or one that shows something new at each call. The zero
// value is ready for use.
type Endings struct {
	mu    sync.Mutex
	ended bool
	at    map[int64]*ending
}

type ending struct {
	channel chan struct{}
	timer   *time.Timer
}

// At is the channel that is closed at a time, or when all end. Fractions of a
// second are cut off.
func (e *Endings) At(end time.Time) <-chan struct{} {
	second := end.Unix()
	e.mu.Lock()
	defer e.mu.Unlock()
	if one, ok := e.at[second]; ok {
		return one.channel
	}
	one := &ending{channel: make(chan struct{})}
	left := time.Until(time.Unix(second, 0))
	if e.ended || left <= 0 {
		close(one.channel)
		return one.channel
	}
	if e.at == nil {
		e.at = make(map[int64]*ending)
	}
	e.at[second] = one
	one.timer = time.AfterFunc(left, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.at[second] == one {
			delete(e.at, second)
			close(one.channel)
		}
	})
	return one.channel
}

// End closes all channels now, and those that are still asked for.
func (e *Endings) End() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	for _, one := range e.at {
		one.timer.Stop()
		close(one.channel)
	}
	e.at = nil
}
