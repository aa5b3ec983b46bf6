package submit_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/submit"
)

// bounded is a store with bounds, one of a node on the same NATS.
func bounded(t *testing.T, js jetstream.JetStream, bounds submit.Bounds) *submit.Store {
	t.Helper()
	store, err := submit.OpenStore(t.Context(), js, 1, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	return natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))
}

func wantFull(t *testing.T, err error, setting string) {
	t.Helper()
	if full, ok := errors.AsType[*limit.FullError](err); !ok || full.Setting != setting {
		t.Errorf("%v; want that %s is reached", err, setting)
	}
}

// retried tries until something succeeds: what was removed makes room once it is
// counted.
func retried(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err := try(); err != nil; err = try() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

func upload(t *testing.T, store *submit.Store, account string, size int) (*submit.Upload, error) {
	return store.CreateUpload(t.Context(), submit.Upload{Account: account}, func(w io.Writer) error {
		_, err := w.Write(make([]byte, size))
		return err
	})
}

// An account has no more uploads than it may, on all nodes together, and another one
// has its own.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	js := jetStream(t)
	one, other := bounded(t, js, submit.Bounds{Uploads: 2}), bounded(t, js, submit.Bounds{Uploads: 2})
	first, err := upload(t, one, "ann", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload(t, one, "ann", 1); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*submit.Store{one, other} {
		_, err := upload(t, store, "ann", 1)
		wantFull(t, err, "uploads-per-account")
	}
	if _, err := upload(t, other, "bob", 1); err != nil {
		t.Errorf("another account: %v", err)
	}
	if err := one.DropUpload(t.Context(), "ann", first.ID); err != nil {
		t.Fatal(err)
	}
	retried(t, "one was used", func() error { _, err := upload(t, other, "ann", 1); return err })
}

// What an account has stored is no larger than it may be, whoever stores it at the same
// time; what was refused leaves nothing.
func TestBytesAreBounded(t *testing.T) {
	t.Parallel()
	js := jetStream(t)
	store := bounded(t, js, submit.Bounds{MiB: 4})
	var all sync.WaitGroup
	results := make(chan error, 16)
	for range cap(results) {
		all.Go(func() {
			_, err := upload(t, store, "ann", 700<<10) // five fit
			results <- err
		})
	}
	all.Wait()
	close(results)
	stored := 0
	for err := range results {
		if err == nil {
			stored++
			continue
		}
		wantFull(t, err, "outbox-mib-per-account")
	}
	if stored > 5 {
		t.Errorf("%d uploads of 700 KiB are stored in 4 MiB", stored)
	}
	// One after the other there is room for all five.
	retried(t, "they do not all fit", func() error {
		if stored < 5 {
			if _, err := upload(t, store, "ann", 700<<10); err != nil {
				return err
			}
			stored++
			return errors.New("one more")
		}
		return nil
	})
	// Those that are known to be too large are refused before they are read.
	_, err := store.CreateUpload(t.Context(), submit.Upload{Account: "ann", Size: 700 << 10}, func(io.Writer) error {
		t.Error("it is read")
		return nil
	})
	wantFull(t, err, "outbox-mib-per-account")
	// A large message counts, too, on another node as well, and one that is kept with
	// its submission does not.
	other := bounded(t, js, submit.Bounds{MiB: 4})
	_, err = other.Create(t.Context(), draft("bob@example.com"), time.Hour, body(string(bytes.Repeat([]byte("x"), 700<<10))))
	wantFull(t, err, "outbox-mib-per-account")
	if _, err := other.Create(t.Context(), draft("bob@example.com"), time.Hour, body(text)); err != nil {
		t.Errorf("a small one: %v", err)
	}
	// With the account goes all that it has.
	if err := store.Forget(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "POSTERN_OUTBOX")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 0 {
		t.Errorf("of an account that is gone %d pieces are left, %v", info.State.Msgs, err)
	}
}

// Submissions that have not ended are bounded, those that are sent again included. What
// was made before is given again, however many there are.
func TestSubmissionsAreBounded(t *testing.T) {
	t.Parallel()
	js := jetStream(t)
	one, other := bounded(t, js, submit.Bounds{Submissions: 2}), bounded(t, js, submit.Bounds{Submissions: 2})
	create := func(store *submit.Store) (*submit.Submission, error) {
		s := draft("bob@example.com")
		s.SendTime = time.Now().Add(300 * 24 * time.Hour)
		return store.Create(t.Context(), s, time.Hour, body(text))
	}
	first, err := create(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create(one); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*submit.Store{one, other} {
		_, err := create(store)
		wantFull(t, err, "submissions-per-account")
		wantFull(t, store.Room(t.Context(), "ann"), "submissions-per-account")
	}
	if again, err := one.Create(t.Context(), first, time.Hour, body(text)); err != nil || again.ID != first.ID {
		t.Errorf("a repeated call: %v", err)
	}
	if _, err := one.Cancel(t.Context(), "ann", first.ID); err != nil {
		t.Fatal(err)
	}
	// It counts until all has been told of.
	if err := one.Told(t.Context(), "ann", first.ID, 2); err != nil {
		t.Fatal(err)
	}
	retried(t, "one was canceled", func() error { _, err := create(other); return err })
}

// A submission that has failed counts when it is sent again.
func TestRetriesAreBounded(t *testing.T) {
	t.Parallel()
	js := jetStream(t)
	store := bounded(t, js, submit.Bounds{Submissions: 1})
	failed := draft("bob@example.com")
	failed, err := store.Create(t.Context(), failed, time.Hour, body(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Update(t.Context(), "ann", failed.ID, func(s *submit.Submission) error {
		s.State, s.Saved, s.Recipients[0].State = submit.Failed, true, submit.RecipientRejected
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := store.Told(t.Context(), "ann", failed.ID, 1); err != nil {
		t.Fatal(err)
	}
	retried(t, "the failed one is gone", func() error {
		_, err := store.Create(t.Context(), draft("bob@example.com"), time.Hour, body(text))
		return err
	})
	_, err = store.Retry(t.Context(), "ann", failed.ID, time.Hour)
	wantFull(t, err, "submissions-per-account")
}

// The blocklist of an account is bounded, but for those who unsubscribe.
func TestBlocksAreBounded(t *testing.T) {
	t.Parallel()
	store := bounded(t, jetStream(t), submit.Bounds{Blocks: 1})
	block := func(address string, unsubscribed bool) error {
		id, err := submit.BlockID(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.CreateBlock(t.Context(), submit.Block{ID: id, Account: "ann", Address: address, Unsubscribed: unsubscribed})
		return err
	}
	if err := block("a@example.com", false); err != nil {
		t.Fatal(err)
	}
	wantFull(t, block("b@example.com", false), "blocks-per-account")
	if err := block("a@example.com", false); err != nil {
		t.Errorf("what is blocked already: %v", err)
	}
	if err := block("c@example.com", true); err != nil {
		t.Errorf("who unsubscribes: %v", err)
	}
}
