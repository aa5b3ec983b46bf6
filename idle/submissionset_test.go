package idle

import (
	"fmt"
	"slices"
	"testing"
)

// Too many submissions to remember are all of them.
func TestSubmissionSet(t *testing.T) {
	t.Parallel()
	var s submissionSet
	if s.any() {
		t.Error("there is something in an empty set")
	}
	for _, id := range []string{"b", "a", "b"} {
		s.add(id)
	}
	if got := s.list(); !s.any() || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v, want each once and in order", got)
	}
	for i := range mostSubmitted {
		s.add(fmt.Sprint(i))
	}
	if !s.any() || s.list() != nil || s.ids != nil {
		t.Errorf("%d ids are kept beside all", len(s.ids))
	}
	s.add("c")
	if s.ids != nil {
		t.Error("an id is kept beside all")
	}
}
