package imapconn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func uidsUpTo(n int) (uids []imap.UID) {
	for i := range n {
		uids = append(uids, imap.UID(i+1))
	}
	return uids
}

// connection fetches messages in the pieces of the plan, as a connection does
// until it dies, and reports whether it did.
func connection(s *suspicion, asked []imap.UID, deadly func(group []imap.UID) bool) (died bool) {
	groups, _ := s.plan(asked)
	for _, group := range groups {
		if deadly(group) {
			s.died(group, len(group) == 1)
			return true
		}
		s.survived(group)
	}
	return false
}

func TestSuspicionFindsTheGuilty(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		n      int
		guilty []imap.UID
		most   int // connections that are lost
	}{
		{"none", 500, nil, 0},
		{"a single message", 1, []imap.UID{1}, 4},
		{"the first of a page", 50, []imap.UID{1}, 7},
		{"the last of a page", 50, []imap.UID{50}, 7},
		{"in the midst of a page", 25, []imap.UID{13}, 6},
		{"one of very many", 500, []imap.UID{321}, 7},
		{"one of a mailbox", 10_000, []imap.UID{9_999}, 8},
		{"neighbours", 500, []imap.UID{20, 21}, 12},
		{"far from each other", 500, []imap.UID{1, 250, 500}, 18},
		{"all", 10, uidsUpTo(10), 42},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var s suspicion
			deaths := 0
			deadly := func(group []imap.UID) bool {
				return slices.ContainsFunc(group, func(uid imap.UID) bool { return slices.Contains(tc.guilty, uid) })
			}
			for connection(&s, uidsUpTo(tc.n), deadly) {
				if deaths++; deaths > tc.most {
					t.Fatalf("more than %d connections were lost; guilty so far: %v", tc.most, s.guilty)
				}
			}
			_, found := s.plan(uidsUpTo(tc.n))
			if !slices.Equal(found, tc.guilty) {
				t.Errorf("found guilty: %v, want %v", found, tc.guilty)
			}
			if s.deaths != 0 || len(s.suspects) != 0 {
				t.Errorf("all is well, and yet %d deaths are remembered, and %d suspects", s.deaths, len(s.suspects))
			}
		})
	}
}

func TestSuspicionOfMessagesThatAreNotNamed(t *testing.T) {
	t.Parallel()
	var s suspicion
	if s.died(nil, false); !s.wary() {
		t.Error("a lost connection leaves no trace")
	}
	if s.known(); s.wary() {
		t.Error("suspicion stays once the messages were fetched")
	}
	s.died(nil, false)
	for range aloneDeaths - 1 {
		if s.died(uidsUpTo(1), true) {
			t.Error("guilty too early")
		}
	}
	if !s.died(uidsUpTo(1), true) {
		t.Error("not guilty after all")
	}
}

func TestSuspicionOfTheLastThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	var s suspicion
	for range 10 * aloneDeaths {
		if s.died(uidsUpTo(1), false) {
			t.Fatal("guilty, although others were asked for with it each time")
		}
	}
}

func TestSuspicionStartsAnewWhenTheLinkBreaks(t *testing.T) {
	t.Parallel()
	var s suspicion
	for range 10 * aloneDeaths {
		if s.died(uidsUpTo(1), true) {
			t.Fatal("guilty, although other commands were not answered either")
		}
		s.calm()
	}
}

// TestSuspicionOnLinksThatBreak looks how many messages are accused where each
// command costs the connection with some probability, whatever it asks for. A
// session has five commands before its first FETCH.
func TestSuspicionOnLinksThatBreak(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, percent := range []int{1, 10, 30} {
		for _, n := range []int{1, 50} {
			const rounds = 1000
			breaks := func() bool { return random.IntN(100) < percent }
			accused := 0
			for range rounds {
				var s suspicion
				for again := true; again; {
					if again = slices.ContainsFunc(uidsUpTo(5), func(imap.UID) bool { return breaks() }); again {
						s.calm()
						continue
					}
					again = connection(&s, uidsUpTo(n), func([]imap.UID) bool { return breaks() })
				}
				accused += len(s.guilty)
			}
			what := fmt.Sprintf("%d messages, %d %% of the commands", n, percent)
			t.Logf("%s: %d accused in %d rounds", what, accused, rounds)
			if accused > rounds/50 {
				t.Errorf("%s: %d messages of %d accused", what, accused, rounds*n)
			}
		}
	}
}
