package folder

import (
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// While the store is away, folders that are known are found, and no new ones are
// given a key, but it can be told which one they are going to have.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	config := natsd.Config{DataDir: t.TempDir()}
	server := natsdtest.Start(t, config)
	config.Addr = server.Addr()
	kv, err := OpenBucket(t.Context(), natsdtest.JetStream(t, server), 1)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRegistry(kv)
	inbox := resolve(t, r, "ann", "INBOX")[0]
	natsdtest.Stop(t, server)
	r.mu.Lock()
	old := r.cache["ann"]
	old.read = time.Now().Add(-time.Hour)
	r.cache["ann"] = old
	r.mu.Unlock()

	if f, err := r.ByKey(t.Context(), "ann", inbox.Key); err != nil || f != inbox {
		t.Errorf("the folder is %+v (%v), want %+v", f, err, inbox)
	}
	if again := resolve(t, r, "ann", "INBOX"); again[0] != inbox {
		t.Errorf("the folder is %+v, want %+v", again[0], inbox)
	}
	if _, err := r.Resolve(t.Context(), "ann", []Seen{{Name: "New", Delimiter: '/'}}); err == nil {
		t.Error("a key was given out that is not stored")
	}
	seen := []Seen{{Name: "New", Delimiter: '/'}, {Name: "INBOX", Delimiter: '/'}}
	foreseen, err := r.Foresee(t.Context(), "ann", seen)
	if err != nil || len(foreseen) != 2 || foreseen[1] != inbox {
		t.Fatalf("foreseen %+v (%v)", foreseen, err)
	}
	if _, err := r.ByKey(t.Context(), "bob", inbox.Key); err == nil {
		t.Error("a folder was found whose account was never read")
	}
	if _, err := r.Foresee(t.Context(), "bob", seen); err == nil {
		t.Error("keys were foreseen for an account that was never read")
	}

	kv, err = OpenBucket(t.Context(), natsdtest.JetStream(t, natsdtest.Start(t, config)), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := resolve(t, NewRegistry(kv), "ann", "New", "INBOX"); !slices.Equal(got, foreseen) {
		t.Errorf("the folders are %+v, foreseen were %+v", got, foreseen)
	}
}
