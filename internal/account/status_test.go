package account_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/waittest"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	owner, reader := e.open(t), e.open(t)
	created := create(t, owner, ann())
	if created.Status.State != account.Connecting {
		t.Errorf("a new account is %s", created.Status.State)
	}
	status := account.Status{
		State: account.Degraded, Detail: "folder X cannot be opened", Capabilities: []string{"IDLE", "MOVE"},
		LastEventTime: time.Now().UTC().Truncate(time.Second), SinceTime: time.Now().UTC().Truncate(time.Second),
		Counters: account.Counters{Events: 1, Connects: 2, Failures: 3},
	}
	if err := owner.PutStatus(t.Context(), created, status); err != nil {
		t.Fatal(err)
	}
	mine, err := owner.Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status, mine.Status); diff != "" {
		t.Errorf("right after PutStatus:\n%s", diff)
	}
	if mine.Etag != created.Etag {
		t.Error("a status changed the etag")
	}
	waittest.For(t, "the other node to see the status", func() bool {
		a, err := reader.Get(t.Context(), "ann")
		return err == nil && cmp.Diff(status, a.Status) == ""
	})
	a, err := e.open(t).Get(t.Context(), "ann")
	if err != nil || cmp.Diff(status, a.Status) != "" {
		t.Errorf("after a restart: %v\n%s", err, cmp.Diff(status, a.Status))
	}
}

func TestPauseShowsAtOnce(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	a := create(t, registry, ann())
	pause := func(paused bool) account.Status {
		changed, err := registry.Update(t.Context(), "ann", "", func(a *account.Account) error {
			a.Paused = paused
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return changed.Status
	}
	put := func(state account.State) {
		if err := registry.PutStatus(t.Context(), a, account.Status{State: state, Detail: "detail"}); err != nil {
			t.Fatal(err)
		}
	}
	put(account.Failed)
	if got := pause(true); got.State != account.Paused || got.Detail != "" || got.SinceTime.IsZero() {
		t.Errorf("paused, the owner has not noticed: %+v", got)
	}
	put(account.Paused)
	if got := pause(false); got.State != account.Connecting || got.Detail != "" {
		t.Errorf("resumed, the owner has not noticed: %+v", got)
	}
}

// The status of a deleted account says nothing of one that takes its id, even
// if a former owner writes it late.
func TestStatusOfFormerAccount(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	former := create(t, registry, ann())
	if err := registry.PutStatus(t.Context(), former, account.Status{State: account.Connected}); err != nil {
		t.Fatal(err)
	}
	kv, err := e.js.KeyValue(t.Context(), "postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	late, err := kv.Get(t.Context(), "status.ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "status.ann", late.Value()); err != nil {
		t.Fatal(err)
	}
	// A start finds it without its account and tidies it away.
	e.open(t)
	if _, err := kv.Get(t.Context(), "status.ann"); err == nil {
		t.Error("an orphaned status stays")
	}
	create(t, registry, ann())
	if _, err := kv.Put(t.Context(), "status.ann", late.Value()); err != nil {
		t.Fatal(err)
	}
	current, err := e.open(t).Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if current.Status.State != account.Connecting {
		t.Errorf("the new account has the former one's state %s", current.Status.State)
	}
	wantError(t, registry.PutStatus(t.Context(), former, account.Status{State: account.Connected}), account.ErrNotFound)
}

// A node whose storage is away shows what it knows, and stores the next status.
func TestStatusThatCannotBeStored(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	a := create(t, registry, ann())
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if err := registry.PutStatus(away, a, account.Status{State: account.Degraded, Detail: "the log is away"}); err == nil {
		t.Fatal("the status was stored")
	}
	if got, err := registry.Get(t.Context(), "ann"); err != nil || got.Status.State != account.Degraded || got.Status.Detail == "" {
		t.Errorf("the account shows %+v, %v", got.Status, err)
	}
	if err := registry.PutStatus(t.Context(), a, account.Status{State: account.Connected}); err != nil {
		t.Fatal(err)
	}
	if got, err := registry.Get(t.Context(), "ann"); err != nil || got.Status.State != account.Connected {
		t.Errorf("the account shows %+v, %v", got.Status, err)
	}
}
