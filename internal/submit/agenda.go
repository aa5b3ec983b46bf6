package submit

import (
	"container/heap"
	"time"
)

// ref names a submission.
type ref struct{ account, id string }

// agenda is what an outbox has to do, and when. It lets no account have more than
// its share under way, and takes the accounts that have something due in turn. It
// knows no clock and is for one goroutine.
type agenda struct {
	perAccount, total int

	items map[ref]*item
	later laterHeap
	// ready are those that are due, by account, and turns the accounts that have
	// any, the next one first.
	ready   map[string][]*item
	turns   []string
	running map[string]int
	started int
}

// item is a submission on the agenda.
type item struct {
	ref
	due time.Time
	// index is the place in the heap, -1 outside.
	index int
	// running says that it is under way, again that it was put on the agenda
	// meanwhile.
	running, again bool
}

func newAgenda(perAccount, total int) *agenda {
	return &agenda{
		perAccount: perAccount, total: total,
		items: make(map[ref]*item), ready: make(map[string][]*item), running: make(map[string]int),
	}
}

// add puts a submission on the agenda, or moves it there.
func (a *agenda) add(r ref, due time.Time) {
	it := a.items[r]
	switch {
	case it == nil:
		it = &item{ref: r, due: due, index: -1}
		a.items[r] = it
		heap.Push(&a.later, it)
	case it.running:
		it.again, it.due = true, due
	case it.index >= 0:
		it.due = due
		heap.Fix(&a.later, it.index)
	}
	// One that is ready stays so: whoever does it looks whether it is due.
}

// next gives a submission that is due and may be begun. wait is how long there is
// nothing to begin if nothing ends or is added; none means for ever.
func (a *agenda) next(now time.Time) (r ref, ok bool, wait time.Duration, none bool) {
	for len(a.later) > 0 && !a.later[0].due.After(now) {
		it, _ := heap.Pop(&a.later).(*item)
		if len(a.ready[it.account]) == 0 {
			a.turns = append(a.turns, it.account)
		}
		a.ready[it.account] = append(a.ready[it.account], it)
	}
	if a.started < a.total {
		for i, account := range a.turns {
			if a.running[account] < a.perAccount {
				return a.begin(i, account), true, 0, false
			}
		}
	}
	if len(a.later) == 0 {
		return ref{}, false, 0, true
	}
	return ref{}, false, a.later[0].due.Sub(now), false
}

// begin takes the first submission of the account whose turn is at i.
func (a *agenda) begin(i int, account string) ref {
	it := a.ready[account][0]
	a.ready[account] = a.ready[account][1:]
	a.turns = append(a.turns[:i], a.turns[i+1:]...)
	if len(a.ready[account]) > 0 {
		a.turns = append(a.turns, account)
	} else {
		delete(a.ready, account)
	}
	it.running = true
	a.running[account]++
	a.started++
	return it.ref
}

// done ends what was begun. The submission leaves the agenda unless there is more to
// do at a time, as whoever did it says, or it was added meanwhile; then the earlier of
// the two counts.
func (a *agenda) done(r ref, more bool, due time.Time) {
	it := a.items[r]
	it.running = false
	if more && (!it.again || due.Before(it.due)) {
		it.again, it.due = true, due
	}
	a.started--
	if a.running[r.account]--; a.running[r.account] == 0 {
		delete(a.running, r.account)
	}
	if !it.again {
		delete(a.items, r)
		return
	}
	it.again = false
	heap.Push(&a.later, it)
}

// laterHeap has the next one to be due at its top.
type laterHeap []*item

func (h laterHeap) Len() int           { return len(h) }
func (h laterHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h laterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds an item for package heap.
func (h *laterHeap) Push(x any) {
	it, _ := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop takes the last item for package heap.
func (h *laterHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.index = -1
	return it
}
