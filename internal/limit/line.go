package limit

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Line lets a number of holders in at a time. Those who wait get in by turns of
// their keys, whichever came first, so a key that asks for much waits for itself.
//
// While several keys ask, none may hold all places: whoever asks for one now and
// then need not wait until others have finished. A key that is alone for a while
// may have all.
type Line struct {
	size, each int

	mu   sync.Mutex
	held map[string]int // never 0
	all  int
	// waiting are those of each key, in order, and turns the keys that have any.
	waiting map[string][]chan struct{}
	turns   []string
	// last is the key that asked last, and shared until when there are others.
	last   string
	shared time.Time
}

// aloneAfter is how long nobody else must have asked for a key to have all places.
const aloneAfter = time.Minute

// NewLine lets size holders in at a time, and of one key at most `each` while there
// are others. 0 or less means any number.
func NewLine(size, each int) *Line {
	return &Line{size: size, each: each, held: make(map[string]int), waiting: make(map[string][]chan struct{})}
}

// Enter waits for a place, for as long as ctx allows. Leave gives it back. The empty
// key is for the house's own work: it waits its turn, and is nobody else to others.
func (l *Line) Enter(ctx context.Context, key string) error { return l.enter(ctx, key, false) }

// enter is Enter; again says to be before all others of the key.
func (l *Line) enter(ctx context.Context, key string, again bool) error {
	l.mu.Lock()
	if key != "" && key != l.last {
		if l.last != "" {
			l.shared = time.Now().Add(aloneAfter)
		}
		l.last = key
	}
	if (again || len(l.waiting[key]) == 0) && l.room(key, time.Now()) {
		l.take(key)
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{}, 1)
	if len(l.waiting[key]) == 0 {
		l.turns = append(l.turns, key)
	}
	if again {
		l.waiting[key] = slices.Insert(l.waiting[key], 0, turn)
	} else {
		l.waiting[key] = append(l.waiting[key], turn)
	}
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // at the very same moment
		l.leave(key)
	default:
		l.forget(key, turn)
		l.admit()
	}
	return ctx.Err()
}

// Leave gives a place back.
func (l *Line) Leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave(key)
}

// leaveAfter gives a place back: after a rest if others of the key wait for one, and
// there are other keys.
func (l *Line) leaveAfter(key string, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rest > 0 && len(l.waiting[key]) > 0 && time.Now().Before(l.shared) {
		time.AfterFunc(rest, func() { l.Leave(key) })
		return
	}
	l.leave(key)
}

// Held is how many places are taken.
func (l *Line) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// Waiting is how many wait.
func (l *Line) Waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queue := range l.waiting {
		n += len(queue)
	}
	return n
}

func (l *Line) leave(key string) {
	l.all--
	if l.held[key]--; l.held[key] == 0 {
		delete(l.held, key)
	}
	l.admit()
}

func (l *Line) take(key string) {
	l.all++
	l.held[key]++
}

// room reports whether a key may have one more place.
func (l *Line) room(key string, now time.Time) bool {
	if l.size > 0 && l.all >= l.size {
		return false
	}
	return l.each <= 0 || l.held[key] < l.each || now.After(l.shared)
}

// admit gives free places to those who wait, one key after the other.
func (l *Line) admit() {
	now := time.Now()
	for passed := 0; passed < len(l.turns); {
		key := l.turns[0]
		l.turns = append(l.turns[1:], key)
		if !l.room(key, now) {
			passed++
			continue
		}
		passed = 0
		queue := l.waiting[key]
		l.take(key)
		queue[0] <- struct{}{}
		l.forget(key, queue[0])
	}
}

// forget takes somebody out of the line, and a key out of the turns for which
// nobody waits any more.
func (l *Line) forget(key string, turn chan struct{}) {
	queue := l.waiting[key]
	for i := range queue {
		if queue[i] == turn {
			queue = append(queue[:i], queue[i+1:]...)
			break
		}
	}
	if len(queue) > 0 {
		l.waiting[key] = queue
		return
	}
	delete(l.waiting, key)
	for i := range l.turns {
		if l.turns[i] == key {
			l.turns = append(l.turns[:i], l.turns[i+1:]...)
			break
		}
	}
}
