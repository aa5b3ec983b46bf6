package requestid

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
)

func open(t *testing.T) *Store {
	t.Helper()
	box, err := secret.OpenFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	js := natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
	s, err := Open(t.Context(), js, 1, box)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t *testing.T, s *Store, scope, id, content, plan string) *Attempt {
	t.Helper()
	a, err := s.Begin(t.Context(), scope, id, []byte(content), plan)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRepeated(t *testing.T) {
	t.Parallel()
	s := open(t)
	first := begin(t, s, "ann/make", "1", "a folder", "plan A")
	if first.Repeated || first.Plan != "plan A" {
		t.Errorf("the first attempt is %+v", first)
	}
	// It died: the next goes on with its plan.
	second := begin(t, s, "ann/make", "1", "a folder", "plan B")
	if !second.Repeated || second.Plan != "plan A" || second.Outcome != "" {
		t.Errorf("the second attempt is %+v", second)
	}
	if err := second.Finish(t.Context(), "folder 7"); err != nil {
		t.Fatal(err)
	}
	if third := begin(t, s, "ann/make", "1", "a folder", ""); third.Outcome != "folder 7" || third.Plan != "plan A" {
		t.Errorf("the third attempt is %+v", third)
	}
	if _, err := s.Begin(t.Context(), "ann/make", "1", []byte("another folder"), ""); !errors.Is(err, ErrReused) {
		t.Errorf("other content: %v, want ErrReused", err)
	}
	for _, other := range []struct{ scope, id string }{{"ann/make", "2"}, {"bob/make", "1"}, {"ann/", "make\x001"}} {
		if a := begin(t, s, other.scope, other.id, "x", ""); a.Repeated {
			t.Errorf("%q is taken for a repetition", other)
		}
	}
}

func TestWithoutAnID(t *testing.T) {
	t.Parallel()
	s := open(t)
	for range 2 {
		a := begin(t, s, "ann/make", "", "a folder", "")
		if a.Repeated {
			t.Error("without an id it is taken for a repetition")
		}
		if err := a.Finish(t.Context(), "folder 7"); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsReadable(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := begin(t, s, "ann/make", "the id", "the content", "the plan").Finish(t.Context(), "the outcome"); err != nil {
		t.Fatal(err)
	}
	lister, err := s.kv.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range lister.Keys() {
		entry, err := s.kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if all := key + string(entry.Value()); strings.Contains(all, "the ") || strings.Contains(all, "ann") {
			t.Errorf("%q shows what was asked for", all)
		}
	}
}
