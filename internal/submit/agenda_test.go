package submit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestAgendaIsFair(t *testing.T) {
	t.Parallel()
	a := newAgenda(2, 3)
	for i := range 5 {
		a.add(ref{"busy", fmt.Sprint(i)}, noon)
	}
	a.add(ref{"quiet", "x"}, noon)
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
	a := newAgenda(1, 1)
	if _, ok, _, none := a.next(noon); ok || !none {
		t.Error("an empty agenda has nothing to do, for ever")
	}
	a.add(ref{"a", "1"}, noon.Add(time.Hour))
	a.add(ref{"a", "2"}, noon.Add(2*time.Hour))
	if _, ok, wait, _ := a.next(noon); ok || wait != time.Hour {
		t.Errorf("wait %s", wait)
	}
	a.add(ref{"a", "2"}, noon.Add(time.Minute)) // moved forward
	if _, ok, wait, _ := a.next(noon); ok || wait != time.Minute {
		t.Errorf("wait %s", wait)
	}
	r, ok, _, _ := a.next(noon.Add(time.Minute))
	if !ok || r.id != "2" {
		t.Errorf("%v %v", r, ok)
	}
	// Added while it is under way: it comes again.
	a.add(r, noon.Add(3*time.Minute))
	a.done(r, false, time.Time{})
	if _, ok, wait, _ := a.next(noon.Add(time.Minute)); ok || wait != 2*time.Minute {
		t.Errorf("wait %s", wait)
	}
	// What was added meanwhile is not put off by whoever did not know of it.
	r, _, _, _ = a.next(noon.Add(3 * time.Minute))
	a.add(r, noon.Add(4*time.Minute))
	a.done(r, true, noon.Add(time.Hour))
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
		a := newAgenda(1+random.IntN(3), 1+random.IntN(6))
		left, running, perAccount := map[ref]int{}, map[ref]bool{}, map[string]int{}
		now := noon
		for range 300 {
			r := ref{fmt.Sprint(random.IntN(4)), fmt.Sprint(random.IntN(20))}
			a.add(r, now.Add(time.Duration(random.IntN(10))*time.Second))
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
		if perAccount[r.account]++; perAccount[r.account] > a.perAccount || len(running) > a.total {
			t.Fatalf("seed %d: %d of account %s under way, %d in all", seed, perAccount[r.account], r.account, len(running))
		}
	}
}

func finish(a *agenda, r ref, running map[ref]bool, perAccount map[string]int) {
	delete(running, r)
	perAccount[r.account]--
	a.done(r, false, time.Time{})
}
