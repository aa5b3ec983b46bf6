package submit

import (
	"container/heap"
	"time"
)

// ref names a submission.
type ref struct{ account, id string }

// limits bound what is done for an account: how much at a time, and how many
// messages are sent within any minute, 0 for no bound.
type limits struct{ concurrent, perMinute int }

// agenda is what an outbox has to do, and when. It lets no account have more than
// its share under way, and takes the accounts that have something due in turn. It
// knows no clock and is for one goroutine.
type agenda struct {
	total    int
	limitsOf func(account string) limits

	items map[ref]*item
	later laterHeap
	// ready are those that are due, by account, and turns the accounts that have
	// any, the next one first.
	ready   map[string]*readyItems
	turns   []string
	running map[string]int
	started int
	// sent are the times at which sending was begun within the last minute, by
	// account, for those that have a rate.
	sent map[string][]time.Time
}

// readyItems are what is due of an account, each in its order: what is to be sent,
// for which there may be a rate, and what is to be done otherwise.
type readyItems struct{ sends, others []*item }

func (r *readyItems) empty() bool { return len(r.sends) == 0 && len(r.others) == 0 }

func (r *readyItems) add(it *item) {
	if it.sends {
		r.sends = append(r.sends, it)
	} else {
		r.others = append(r.others, it)
	}
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
	// freed says that what is under way no longer counts against the limits.
	freed bool
	// sends says that it is to be sent, or that nobody knows.
	sends bool
}

func newAgenda(total int, limitsOf func(account string) limits) *agenda {
	return &agenda{
		total: total, limitsOf: limitsOf, sent: make(map[string][]time.Time),
		items: make(map[ref]*item), ready: make(map[string]*readyItems), running: make(map[string]int),
	}
}

// add puts a submission on the agenda, or moves it there. sends is true unless it is
// known not to be sent, but that something else is to be done.
func (a *agenda) add(r ref, due time.Time, sends bool) {
	it := a.items[r]
	switch {
	case it == nil:
		it = &item{ref: r, due: due, index: -1, sends: sends}
		a.items[r] = it
		heap.Push(&a.later, it)
	case it.running:
		it.again, it.due, it.sends = true, due, sends
	case it.index >= 0:
		it.due, it.sends = due, sends
		heap.Fix(&a.later, it.index)
	}
	// One that is ready stays so: whoever does it looks whether it is due.
}

// next gives a submission that is due and may be begun. wait is how long there is
// nothing to begin if nothing ends or is added; none means for ever.
func (a *agenda) next(now time.Time) (r ref, ok bool, wait time.Duration, none bool) {
	for len(a.later) > 0 && !a.later[0].due.After(now) {
		it, _ := heap.Pop(&a.later).(*item)
		ready := a.ready[it.account]
		if ready == nil {
			ready = &readyItems{}
			a.ready[it.account] = ready
			a.turns = append(a.turns, it.account)
		}
		ready.add(it)
	}
	none = true
	until := func(d time.Duration) {
		if none || d < wait {
			wait, none = d, false
		}
	}
	if a.started < a.total {
		for i, account := range a.turns {
			bounds := a.limitsOf(account)
			if a.running[account] >= bounds.concurrent {
				continue
			}
			held := a.held(account, bounds.perMinute, now)
			if held <= 0 || len(a.ready[account].others) > 0 {
				return a.begin(i, account, held <= 0, bounds.perMinute, now), true, 0, false
			}
			until(held)
		}
	}
	if len(a.later) > 0 {
		until(a.later[0].due.Sub(now))
	}
	return ref{}, false, wait, none
}

// held is how long an account's rate lets nothing be sent.
func (a *agenda) held(account string, perMinute int, now time.Time) time.Duration {
	sent := a.sent[account]
	for len(sent) > 0 && !sent[0].Add(time.Minute).After(now) {
		sent = sent[1:]
	}
	if len(sent) == 0 {
		delete(a.sent, account)
	} else {
		a.sent[account] = sent
	}
	if perMinute == 0 || len(sent) < perMinute {
		return 0
	}
	return sent[len(sent)-perMinute].Add(time.Minute).Sub(now)
}

// begin takes the first submission that may be begun of the account whose turn is at
// i. What is not sent goes first: it is the end of what was sent before.
func (a *agenda) begin(i int, account string, maySend bool, perMinute int, now time.Time) ref {
	ready := a.ready[account]
	var it *item
	if len(ready.others) > 0 || !maySend {
		it, ready.others = ready.others[0], ready.others[1:]
	} else {
		it, ready.sends = ready.sends[0], ready.sends[1:]
		if perMinute > 0 {
			a.sent[account] = append(a.sent[account], now)
		}
	}
	a.turns = append(a.turns[:i], a.turns[i+1:]...)
	if ready.empty() {
		delete(a.ready, account)
	} else {
		a.turns = append(a.turns, account)
	}
	it.running = true
	a.running[account]++
	a.started++
	return it.ref
}

// free lets another one be begun in place of what was begun and has not ended: it was
// sent, and what became of it is being written down.
func (a *agenda) free(r ref) {
	it := a.items[r]
	it.freed = true
	a.release(r.account)
}

func (a *agenda) release(account string) {
	a.started--
	if a.running[account]--; a.running[account] == 0 {
		delete(a.running, account)
	}
}

// done ends what was begun. The submission leaves the agenda unless there is more to
// do at a time, as whoever did it says, or it was added meanwhile; then the earlier of
// the two counts.
func (a *agenda) done(r ref, more bool, due time.Time, sends bool) {
	it := a.items[r]
	it.running = false
	if more && (!it.again || due.Before(it.due)) {
		it.again, it.due, it.sends = true, due, sends
	}
	if !it.freed {
		a.release(r.account)
	}
	it.freed = false
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
