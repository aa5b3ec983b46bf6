package submit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAgendaIsFair(t *testing.T) {
	t.Parallel()
	a := newAgenda(3, bounded(2, 0))
	for i := range 5 {
		a.add(ref{"busy", fmt.Sprint(i)}, noon, true)
	}
	a.add(ref{"quiet", "x"}, noon, true)
	var begun []string
	for {
		r, ok, _, _ := a.next(noon)
		if !ok {
			break
		}
		begun = append(begun, r.account)
	}
	if got := fmt.Sprint(begun); got != "[busy quiet busy]" && got != "[busy busy quiet]" {
		t.Errorf("begun: %s", got)
	}
}

func TestAgendaWaitsForWhatIsDueLater(t *testing.T) {
	t.Parallel()
	a := newAgenda(1, bounded(1, 0))
	if _, ok, _, none := a.next(noon); ok || !none {
		t.Error("an empty agenda has nothing to do, for ever")
	}
	a.add(ref{"a", "1"}, noon.Add(time.Hour), true)
	a.add(ref{"a", "2"}, noon.Add(2*time.Hour), true)
	if _, ok, wait, _ := a.next(noon); ok || wait != time.Hour {
		t.Errorf("wait %s", wait)
	}
	a.add(ref{"a", "2"}, noon.Add(time.Minute), true) // moved forward
	if _, ok, wait, _ := a.next(noon); ok || wait != time.Minute {
		t.Errorf("wait %s", wait)
	}
	r, ok, _, _ := a.next(noon.Add(time.Minute))
	if !ok || r.id != "2" {
		t.Errorf("%v %v", r, ok)
	}
	// Added while it is under way: it comes again.
	a.add(r, noon.Add(3*time.Minute), true)
	a.done(r, false, time.Time{}, true)
	if _, ok, wait, _ := a.next(noon.Add(time.Minute)); ok || wait != 2*time.Minute {
		t.Errorf("wait %s", wait)
	}
	// What was added meanwhile is not put off by whoever did not know of it.
	r, _, _, _ = a.next(noon.Add(3 * time.Minute))
	a.add(r, noon.Add(4*time.Minute), true)
	a.done(r, true, noon.Add(time.Hour), true)
	if _, ok, wait, _ := a.next(noon.Add(3 * time.Minute)); ok || wait != time.Minute {
		t.Errorf("wait %s", wait)
	}
}

// Whatever is added and done in whatever order, all is done, nothing twice at a
// time, and nobody has more than a share.
func TestAgendaDoesAll(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		bounds := limits{concurrent: 1 + random.IntN(3), perMinute: random.IntN(3) * 50}
		a := newAgenda(1+random.IntN(6), func(string) limits { return bounds })
		left, running, perAccount := map[ref]int{}, map[ref]bool{}, map[string]int{}
		now := noon
		for range 300 {
			r := ref{fmt.Sprint(random.IntN(4)), fmt.Sprint(random.IntN(20))}
			a.add(r, now.Add(time.Duration(random.IntN(10))*time.Second), true)
			left[r]++
			now = now.Add(time.Second)
			work(t, seed, a, now, left, running, perAccount)
			for r := range running {
				if random.IntN(2) == 0 {
					finish(a, r, running, perAccount)
				}
			}
		}
		for range 1000 {
			now = now.Add(time.Minute)
			work(t, seed, a, now, left, running, perAccount)
			for r := range running {
				finish(a, r, running, perAccount)
			}
		}
		if len(left) != 0 || len(a.items) != 0 || len(a.turns) != 0 || a.started != 0 || len(a.running) != 0 {
			t.Fatalf("seed %d: left %v, agenda %+v", seed, left, a)
		}
	}
}

func work(t *testing.T, seed uint64, a *agenda, now time.Time, left map[ref]int, running map[ref]bool, perAccount map[string]int) {
	t.Helper()
	for {
		r, ok, _, _ := a.next(now)
		if !ok {
			return
		}
		if running[r] || left[r] == 0 {
			t.Fatalf("seed %d: %v begun, running %v, added %d times", seed, r, running[r], left[r])
		}
		delete(left, r)
		running[r] = true
		if perAccount[r.account]++; perAccount[r.account] > a.limitsOf(r.account).concurrent || len(running) > a.total {
			t.Fatalf("seed %d: %d of account %s under way, %d in all", seed, perAccount[r.account], r.account, len(running))
		}
	}
}

func finish(a *agenda, r ref, running map[ref]bool, perAccount map[string]int) {
	delete(running, r)
	perAccount[r.account]--
	a.done(r, false, time.Time{}, true)
}

// bounded gives all accounts the same limits.
// What was sent and is still being written down takes no place from the next one.
func TestAgendaFreesThePlaceOfWhatWasSent(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := newAgenda(10, bounded(1, 0))
	first, second := ref{"ann", "1"}, ref{"ann", "2"}
	a.add(first, now, true)
	a.add(second, now.Add(time.Millisecond), true)
	now = now.Add(time.Second)
	if r, ok, _, _ := a.next(now); !ok || r != first {
		t.Fatalf("began %v, %v", r, ok)
	}
	if r, ok, _, _ := a.next(now); ok {
		t.Fatalf("began %v beside the first", r)
	}
	a.free(first)
	if r, ok, _, _ := a.next(now); !ok || r != second {
		t.Fatalf("began %v, %v after the first was sent", r, ok)
	}
	// It is put on the agenda anew while it is being written down.
	a.add(first, now, true)
	a.done(first, false, time.Time{}, true)
	if r, ok, _, _ := a.next(now); ok {
		t.Fatalf("began %v beside the second", r)
	}
	a.done(second, false, time.Time{}, true)
	if r, ok, _, _ := a.next(now); !ok || r != first {
		t.Fatalf("began %v, %v after the second", r, ok)
	}
	a.done(first, false, time.Time{}, true)
	if a.started != 0 || len(a.running) != 0 || len(a.items) != 0 {
		t.Errorf("left: %d started, %v running, %v", a.started, a.running, a.items)
	}
}

func bounded(concurrent, perMinute int) func(string) limits {
	return func(string) limits { return limits{concurrent, perMinute} }
}

func TestAgendaKeepsToRates(t *testing.T) {
	t.Parallel()
	bounds := map[string]limits{"slow": {5, 2}, "fast": {5, 0}}
	a := newAgenda(100, func(account string) limits { return bounds[account] })
	for i := range 5 {
		a.add(ref{"slow", fmt.Sprint(i)}, noon.Add(time.Duration(i)), true)
	}
	a.add(ref{"fast", "x"}, noon, true)
	begun := func(now time.Time) string {
		var list []string
		for {
			r, ok, _, _ := a.next(now)
			if !ok {
				slices.Sort(list)
				return strings.Join(list, " ")
			}
			list = append(list, r.account+r.id)
			a.done(r, false, time.Time{}, true)
		}
	}
	now := noon.Add(time.Second)
	if got := begun(now); got != "fastx slow0 slow1" {
		t.Errorf("at first %q", got)
	}
	if _, ok, wait, none := a.next(now.Add(10 * time.Second)); ok || none || wait != 50*time.Second {
		t.Errorf("wait %s", wait)
	}
	// The end of what was sent does not wait for the rate.
	a.add(ref{"slow", "copy"}, now, false)
	if got := begun(now); got != "slowcopy" {
		t.Errorf("then %q", got)
	}
	if got := begun(now.Add(59 * time.Second)); got != "" {
		t.Errorf("within the minute %q", got)
	}
	if got := begun(now.Add(time.Minute)); got != "slow2 slow3" {
		t.Errorf("after a minute %q", got)
	}
	bounds["slow"] = limits{5, 3} // what was sent before counts
	if got := begun(now.Add(61 * time.Second)); got != "slow4" {
		t.Errorf("with a higher rate %q", got)
	}
}
