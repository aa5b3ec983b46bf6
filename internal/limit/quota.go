package limit

import (
	"context"
	"sync"
	"time"
)

const (
	// countAgain is after how long what a key has is counted anew, and countFull after
	// how long it is when the key has all that it may have. Counting is never more
	// than a hundredth, or a tenth, of the time.
	countAgain = 10 * time.Second
	countFull  = time.Second
	// maxUsages is how many keys are remembered, beside those that store something at
	// the moment.
	maxUsages = 10_000
)

// Bound is what a [Quota] allows, and how it is told.
type Bound struct {
	// Setting, What and Instead are those of the [FullError].
	Setting, What, Instead string
	// Most is what the setting says, in units of Unit. A bound that is not positive is
	// none.
	Most int
	Unit int64
}

// Quota bounds what each key, such as an account, has in a store that several nodes
// write to. What there is is counted in the store now and then, and what this node
// adds meanwhile is added to that. So one node alone never goes beyond the bound;
// several do by what the others add between two counts. What was removed makes room at
// the next count. It is safe for concurrent use.
type Quota struct {
	bound Bound
	count func(ctx context.Context, key string) (int64, error)

	mu   sync.Mutex
	keys map[string]*usage
}

// usage is what a key has.
type usage struct {
	counted int64
	// since was added since the count began, and before it by those who have not
	// ended; storing is the part of that of those who have not ended.
	since, storing int64
	// at is when it was counted, zero for never, and cost for how long.
	at   time.Time
	cost time.Duration
	// counting is closed at the end of a count that is under way.
	counting chan struct{}
}

// NewQuota makes a quota. count counts what a key has in the store.
func NewQuota(bound Bound, count func(ctx context.Context, key string) (int64, error)) *Quota {
	return &Quota{bound: bound, count: count, keys: make(map[string]*usage)}
}

// Room fails with a [*FullError] unless a key may have n more, or as the count does.
func (q *Quota) Room(ctx context.Context, key string, n int64) error {
	return q.take(ctx, key, n, 0)
}

// Hold begins to store something for a key. Done is to be called at its end.
func (q *Quota) Hold(key string) *Hold { return &Hold{quota: q, key: key} }

// Hold is something that is being stored. It is for one goroutine.
type Hold struct {
	quota *Quota
	key   string
	taken int64
}

// Take takes room for n more. It fails as [Quota.Room] does.
func (h *Hold) Take(ctx context.Context, n int64) error {
	err := h.quota.take(ctx, h.key, n, n)
	if err == nil {
		h.taken += n
	}
	return err
}

// Done says that it is stored, or that nothing of it is kept.
func (h *Hold) Done(kept bool) {
	q := h.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.keys[h.key]
	if u == nil {
		return // nothing was taken
	}
	u.storing -= h.taken
	if !kept {
		u.since -= h.taken
	}
	h.taken = 0
}

// Len is how many keys are remembered.
func (q *Quota) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.keys)
}

// take adds to what a key has, if there is room for what it needs.
func (q *Quota) take(ctx context.Context, key string, need, add int64) error {
	if q.bound.Most <= 0 {
		return nil
	}
	for {
		q.mu.Lock()
		u := q.usage(key)
		full := u.counted+u.since+need > int64(q.bound.Most)*q.bound.Unit
		switch counting, due := u.counting, u.due(time.Now(), full); {
		case due && counting == nil:
			u.counting = make(chan struct{})
			stored := u.since - u.storing
			q.mu.Unlock()
			if err := q.recount(ctx, key, u, stored); err != nil {
				return err
			}
			continue
		case counting != nil && (full || u.at.IsZero()):
			q.mu.Unlock()
			select {
			case <-counting:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		case full:
			q.mu.Unlock()
			b := q.bound
			return &FullError{Setting: b.Setting, What: b.What, Instead: b.Instead, Most: b.Most}
		}
		u.since += add
		u.storing += add
		q.mu.Unlock()
		return nil
	}
}

// due reports whether it is time to count.
func (u *usage) due(now time.Time, full bool) bool {
	age := now.Sub(u.at)
	return u.at.IsZero() || age >= max(countAgain, 100*u.cost) || full && age >= max(countFull, 10*u.cost)
}

// recount counts what a key has. stored is what was added and stored before, which is
// in the count; what was being stored then may be in it, or not.
func (q *Quota) recount(ctx context.Context, key string, u *usage, stored int64) error {
	begin := time.Now()
	n, err := q.count(ctx, key)
	q.mu.Lock()
	defer q.mu.Unlock()
	close(u.counting)
	u.counting = nil
	if err != nil {
		return err
	}
	u.counted, u.at = n, time.Now()
	u.since -= stored
	u.cost = u.at.Sub(begin)
	return nil
}

// usage is that of a key. The caller holds the lock.
func (q *Quota) usage(key string) *usage {
	u := q.keys[key]
	if u != nil {
		return u
	}
	if len(q.keys) >= maxUsages {
		for k, other := range q.keys {
			if other.storing == 0 && other.counting == nil {
				delete(q.keys, k)
			}
		}
	}
	u = &usage{}
	q.keys[key] = u
	return u
}
