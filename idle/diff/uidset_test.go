package diff

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// naive is a set as a map, to check the range arithmetic against.
type naive map[imap.UID]bool

func randomSet(random *rand.Rand) (imap.UIDSet, naive) {
	var set imap.UIDSet
	members := naive{}
	for range random.IntN(12) {
		uid := imap.UID(random.IntN(40) + 1)
		set.AddNum(uid)
		members[uid] = true
	}
	return set, members
}

func check(t *testing.T, what string, got imap.UIDSet, want func(imap.UID) bool) {
	t.Helper()
	var members []imap.UID
	for uid := imap.UID(1); uid <= 50; uid++ {
		if want(uid) {
			members = append(members, uid)
		}
	}
	if listed := slices.Collect(All(got)); !slices.Equal(listed, members) {
		t.Fatalf("%s = %v, want %v", what, listed, members)
	}
	if Count(got) != uint64(len(members)) {
		t.Fatalf("%s counts %d, want %d", what, Count(got), len(members))
	}
	for i := 1; i < len(got); i++ {
		if got[i].Start <= got[i-1].Stop {
			t.Fatalf("%s = %v is not sorted and disjoint", what, got)
		}
	}
}

func TestSetArithmetic(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 2))
		a, inA := randomSet(random)
		b, inB := randomSet(random)
		check(t, "Union", Union(a, b), func(uid imap.UID) bool { return inA[uid] || inB[uid] })
		check(t, "Intersect", Intersect(a, b), func(uid imap.UID) bool { return inA[uid] && inB[uid] })
		check(t, "Subtract", Subtract(a, b), func(uid imap.UID) bool { return inA[uid] && !inB[uid] })
		end := imap.UID(random.IntN(45))
		check(t, "Below", Below(a, end), func(uid imap.UID) bool { return inA[uid] && uid < end })
		out := imap.UID(random.IntN(45) + 1)
		check(t, "remove", remove(slices.Clone(a), out), func(uid imap.UID) bool { return inA[uid] && uid != out })
	}
}

func TestSetsReachTheHighestUID(t *testing.T) {
	t.Parallel()
	const highest = imap.UID(4294967295)
	all := imap.UIDSet{{Start: 1, Stop: highest}}
	if got := Count(all); got != 4294967295 {
		t.Errorf("Count = %d", got)
	}
	if got := Subtract(all, imap.UIDSet{{Start: highest, Stop: highest}}); got.String() != "1:4294967294" {
		t.Errorf("Subtract = %s", got)
	}
	if got := Union(all, imap.UIDSet{{Start: 5, Stop: highest}}); got.String() != "1:4294967295" {
		t.Errorf("Union = %s", got)
	}
	var last []imap.UID
	for uid := range All(imap.UIDSet{{Start: highest - 1, Stop: highest}}) {
		last = append(last, uid)
	}
	if !slices.Equal(last, []imap.UID{highest - 1, highest}) {
		t.Errorf("All = %v", last)
	}
}
