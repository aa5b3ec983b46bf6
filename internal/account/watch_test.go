package account_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/waittest"
)

// watch runs a watch and passes on what it yields.
func watch(t *testing.T, registry *account.Registry) <-chan account.Change {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan account.Change), make(chan struct{})
	go func() {
		defer close(done)
		for change := range registry.Watch(ctx) {
			select {
			case changes <- change:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return changes
}

// next gives the next change in short: the id, and "-" or the display name.
func next(t *testing.T, changes <-chan account.Change) string {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case change := <-changes:
		if change.Deleted {
			return change.ID + " -"
		}
		return change.ID + " " + change.Account.DisplayName
	case <-timer.C:
		t.Fatal("no change came")
		return ""
	}
}

func wantChanges(t *testing.T, changes <-chan account.Change, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(t, changes); got != w {
			t.Fatalf("change %q, want %q", got, w)
		}
	}
}

func rename(t *testing.T, registry *account.Registry, id, name string) {
	t.Helper()
	_, err := registry.Update(t.Context(), id, "", func(a *account.Account) error {
		a.DisplayName = name
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	here, elsewhere := e.open(t), e.open(t)
	for _, id := range []string{"b", "a"} {
		account := ann()
		account.ID = id
		create(t, here, account)
	}
	changes := watch(t, here)
	wantChanges(t, changes, "a Ann", "b Ann")

	rename(t, elsewhere, "b", "Bob")
	wantChanges(t, changes, "b Bob")
	created := create(t, here, ann())
	wantChanges(t, changes, "ann Ann")
	// A status is no change of settings: what comes next is the deletion.
	if err := here.PutStatus(t.Context(), created, account.Status{State: account.Connected}); err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	wantChanges(t, changes, "ann -")

	// Deleted and registered anew while nobody was looking.
	rename(t, here, "a", "Anna") // holds the watch at this change
	if err := here.Delete(t.Context(), "b", ""); err != nil {
		t.Fatal(err)
	}
	again := ann()
	again.ID = "b"
	create(t, here, again)
	wantChanges(t, changes, "a Anna", "b -", "b Ann")
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for change := range registry.Watch(ctx) {
		t.Errorf("a canceled watch yields %v", change)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range registry.Watch(context.Background()) {
		}
	}()
	registry.Close()
	<-ended // or the test's own time-out
}

func TestCloseWithoutNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natsdtest.Start(t, natsd.Config{DataDir: dir})
	conn, err := srv.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := account.Open(t.Context(), js, account.Config{Box: newBox(t, dir+"/secret.key")})
	if err != nil {
		t.Fatal(err)
	}
	create(t, registry, ann())
	conn.Close()
	if _, err := registry.Get(t.Context(), "ann"); err != nil {
		t.Errorf("without NATS what is known should be readable: %v", err)
	}
	if _, err := registry.Get(t.Context(), "bob"); err == nil || errors.Is(err, account.ErrNotFound) {
		t.Errorf("without NATS an unknown account is called missing: %v", err)
	}
	registry.Close()
}

// A registry outlives a restart of the NATS server it is connected to.
func TestWatchOutlivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box := newBox(t, dir+"/secret.key")
	srv := natsdtest.Start(t, natsd.Config{DataDir: dir})
	var registries []*account.Registry
	for range 2 {
		registry, err := account.Open(t.Context(), natsdtest.Remote(t, srv.URL().Reveal()), account.Config{Box: box})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(registry.Close)
		registries = append(registries, registry)
	}
	here, elsewhere := registries[0], registries[1]
	create(t, here, ann())
	changes := watch(t, elsewhere)
	wantChanges(t, changes, "ann Ann")
	for round := range 2 {
		natsdtest.Stop(t, srv)
		var err error
		if srv, err = natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: srv.Addr()}); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("after restart ", round)
		waittest.For(t, "writing to work again", func() bool {
			_, err := here.Update(t.Context(), "ann", "", func(a *account.Account) error {
				a.DisplayName = name
				return nil
			})
			return err == nil
		})
		wantChanges(t, changes, "ann "+name)
	}
	natsdtest.Stop(t, srv)
}
