package account_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// equal compares accounts, secrets by their values.
func equal(a, b *account.Account) string {
	return cmp.Diff(a, b, cmp.Comparer(func(x, y secret.String) bool { return x.Equal(y) }))
}

func TestCreateAndGet(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	before := time.Now().Add(-time.Second)
	created := create(t, registry, ann())

	got, err := registry.Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if diff := equal(created, got); diff != "" {
		t.Errorf("Get differs from what Create answered:\n%s", diff)
	}
	again, err := e.open(t).Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if diff := equal(created, again); diff != "" {
		t.Errorf("read by another registry:\n%s", diff)
	}

	want := ann()
	want.Backfill = account.BackfillNone // the default
	want.IdentityKey, want.CreateTime, want.UpdateTime = got.IdentityKey, got.CreateTime, got.UpdateTime
	want.Etag, want.ConnectionRevision, want.Status = got.Etag, got.ConnectionRevision, account.Status{State: account.Connecting}
	if diff := equal(want, got); diff != "" {
		t.Errorf("stored settings (-given +stored):\n%s", diff)
	}
	if len(got.IdentityKey.Reveal()) != 32 || got.Etag == "" || got.ConnectionRevision == "" || got.CreateTime.Before(before) {
		t.Errorf("made with the account: %+v", got)
	}
	if login, ok := got.SMTPLogin(); !ok || login.Username != "ann" || login.Password.Reveal() != "hunter2" || login.Port != 465 {
		t.Errorf("SMTP login is %+v, %v", login, ok)
	}

	// What was handed out is the caller's own.
	got.Labels["team"], got.Watch.ExcludedFolders[0], got.SMTP.Host = "changed", "changed", "changed"
	if fresh, err := registry.Get(t.Context(), "ann"); err != nil || equal(created, fresh) != "" {
		t.Errorf("changing a copy changed the registry: %v", err)
	}
}

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	create(t, registry, ann())
	_, err := registry.Create(t.Context(), ann(), "")
	wantError(t, err, account.ErrExists)
	_, err = registry.Create(t.Context(), ann(), "some request")
	wantError(t, err, account.ErrExists)

	broken := ann()
	broken.IMAP.Port = -1
	_, err = registry.Create(t.Context(), broken, "")
	if _, ok := errors.AsType[*invalid.Error](err); !ok {
		t.Errorf("error %v, want an invalid.Error", err)
	}
}

func TestGeneratedIDs(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	seen := make(map[string]bool)
	for range 20 {
		a := ann()
		a.ID = ""
		id := create(t, registry, a).ID
		if seen[id] || !account.ValidID(id) {
			t.Fatalf("generated id %q", id)
		}
		seen[id] = true
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	anonymous := func() *account.Account {
		a := ann()
		a.ID = ""
		return a
	}
	first, err := registry.Create(t.Context(), anonymous(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	// Any node, and a node that has just started, must know the request.
	second, err := e.open(t).Create(t.Context(), anonymous(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := equal(first, second); diff != "" {
		t.Errorf("repetition gives another account:\n%s", diff)
	}

	otherPassword := anonymous()
	otherPassword.IMAP.Password = secret.New("other")
	_, err = registry.Create(t.Context(), otherPassword, "r1")
	wantError(t, err, requestid.ErrReused)
	named := ann()
	_, err = registry.Create(t.Context(), named, "r1")
	wantError(t, err, requestid.ErrReused)
	if _, err := registry.Get(t.Context(), "ann"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("a refused request left an account: %v", err)
	}
	third, err := registry.Create(t.Context(), anonymous(), "r2")
	if err != nil || third.ID == first.ID {
		t.Errorf("another request id gives %v, %v", third, err)
	}

	if err := registry.Delete(t.Context(), first.ID, ""); err != nil {
		t.Fatal(err)
	}
	_, err = registry.Create(t.Context(), anonymous(), "r1")
	wantError(t, err, requestid.ErrReused)
}

func TestRequestIDAfterCrash(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry := e.open(t)
	// An account of the same id, created and deleted before the request, must
	// not make the request look carried out.
	create(t, registry, ann())
	if err := registry.Delete(t.Context(), "ann", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Create(t.Context(), ann(), "r1"); err != nil {
		t.Fatal(err)
	}
	// Take the account away without a trace, as if the process had died between
	// the claim and the account.
	stream, err := e.js.Stream(t.Context(), "KV_postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.postern_accounts.account.ann")); err != nil {
		t.Fatal(err)
	}
	restarted := e.open(t)
	if _, err := restarted.Get(t.Context(), "ann"); !errors.Is(err, account.ErrNotFound) {
		t.Fatalf("the account is still there: %v", err)
	}
	if _, err := restarted.Create(t.Context(), ann(), "r1"); err != nil {
		t.Errorf("repetition after the crash: %v", err)
	}
}

func TestRequestIDRace(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	nodes := []*account.Registry{e.open(t), e.open(t)}
	ids := make([]string, 16)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			a := ann()
			a.ID = ""
			created, err := nodes[i%2].Create(t.Context(), a, "same")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = created.ID
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one request created several accounts: %v", ids)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	created := create(t, registry, ann())

	renamed, err := registry.Update(t.Context(), "ann", created.Etag, func(a *account.Account) error {
		a.DisplayName = "Ann Lee"
		a.ID, a.IdentityKey, a.CreateTime = "bob", secret.New("x"), time.Time{} // not for callers to change
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if renamed.DisplayName != "Ann Lee" || renamed.ID != "ann" || !renamed.IdentityKey.Equal(created.IdentityKey) ||
		!renamed.CreateTime.Equal(created.CreateTime) {
		t.Errorf("after the update: %+v", renamed)
	}
	if renamed.Etag == created.Etag {
		t.Error("the etag did not change")
	}
	if renamed.ConnectionRevision != created.ConnectionRevision {
		t.Error("a new display name makes connections look out of date")
	}

	_, err = registry.Update(t.Context(), "ann", created.Etag, func(*account.Account) error { return nil })
	wantError(t, err, account.ErrEtagMismatch)
	_, err = registry.Update(t.Context(), "bob", "", func(*account.Account) error { return nil })
	wantError(t, err, account.ErrNotFound)
	refusal := errors.New("no")
	_, err = registry.Update(t.Context(), "ann", "", func(*account.Account) error { return refusal })
	wantError(t, err, refusal)
	_, err = registry.Update(t.Context(), "ann", "", func(a *account.Account) error { a.Email = "x"; return nil })
	if _, ok := errors.AsType[*invalid.Error](err); !ok {
		t.Errorf("error %v, want an invalid.Error", err)
	}

	same, err := registry.Update(t.Context(), "ann", "", func(a *account.Account) error { a.DisplayName = "Ann Lee"; return nil })
	if err != nil || equal(renamed, same) != "" {
		t.Errorf("a change that changes nothing: %v\n%s", err, equal(renamed, same))
	}
	moved, err := registry.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.Password = secret.New("new")
		return nil
	})
	if err != nil || moved.ConnectionRevision == created.ConnectionRevision {
		t.Errorf("a new password does not make connections out of date (error %v)", err)
	}
}

func TestConcurrentUpdatesAreAllKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	nodes := []*account.Registry{e.open(t), e.open(t)}
	create(t, nodes[0], ann())
	var wait sync.WaitGroup
	const writers = 8
	for i := range writers {
		wait.Go(func() {
			_, err := nodes[i%2].Update(t.Context(), "ann", "", func(a *account.Account) error {
				a.Labels[fmt.Sprintf("w%d", i)] = "x"
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for i, node := range nodes {
		waittest.For(t, fmt.Sprintf("node %d to see all changes", i), func() bool {
			a, err := node.Get(t.Context(), "ann")
			return err == nil && len(a.Labels) == writers+1
		})
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	registry, other := e.open(t), e.open(t)
	created := create(t, registry, ann())
	if err := registry.PutStatus(t.Context(), created, account.Status{State: account.Connected}); err != nil {
		t.Fatal(err)
	}
	wantError(t, registry.Delete(t.Context(), "ann", "stale"), account.ErrEtagMismatch)
	wantError(t, registry.Delete(t.Context(), "bob", ""), account.ErrNotFound)
	wantError(t, registry.Delete(t.Context(), "..", ""), account.ErrNotFound)
	if err := registry.Delete(t.Context(), "ann", created.Etag); err != nil {
		t.Fatal(err)
	}
	_, err := registry.Get(t.Context(), "ann")
	wantError(t, err, account.ErrNotFound)
	wantError(t, registry.Delete(t.Context(), "ann", ""), account.ErrNotFound)
	waittest.For(t, "the other node to see the deletion", func() bool {
		_, err := other.Get(t.Context(), "ann")
		return errors.Is(err, account.ErrNotFound)
	})
	stream, err := e.js.Stream(t.Context(), "KV_postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"account.ann", "status.ann"} {
		if msg, err := stream.GetLastMsgForSubject(t.Context(), "$KV.postern_accounts."+key); err == nil && len(msg.Data) > 0 {
			t.Errorf("%s is still stored", key)
		}
	}
	wantError(t, registry.PutStatus(t.Context(), created, account.Status{State: account.Failed}), account.ErrNotFound)

	recreated := create(t, registry, ann())
	if recreated.Etag == created.Etag || recreated.ConnectionRevision == created.ConnectionRevision {
		t.Error("an account that was registered anew looks like the former one")
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	for _, id := range []string{"d", "b", "a", "e", "c"} {
		a := ann()
		a.ID = id
		if id == "b" || id == "e" {
			a.Labels = map[string]string{"team": "support", "vip": ""}
		}
		a.Paused = id == "c"
		create(t, registry, a)
	}
	support := map[string]string{"team": "support"}
	cases := map[string]struct {
		filter account.Filter
		after  string
		limit  int
		want   string
		more   bool
	}{
		"all":                  {account.Filter{}, "", 10, "a b c d e", false},
		"first page":           {account.Filter{}, "", 2, "a b", true},
		"second page":          {account.Filter{}, "b", 2, "c d", true},
		"last page":            {account.Filter{}, "d", 2, "e", false},
		"after one not there":  {account.Filter{}, "bb", 10, "c d e", false},
		"exactly full":         {account.Filter{}, "c", 2, "d e", false},
		"label":                {account.Filter{Labels: support}, "", 10, "b e", false},
		"label page":           {account.Filter{Labels: support}, "", 1, "b", true},
		"empty label value":    {account.Filter{Labels: map[string]string{"vip": ""}}, "", 10, "b e", false},
		"label not there":      {account.Filter{Labels: map[string]string{"x": ""}}, "", 10, "", false},
		"state":                {account.Filter{States: []account.State{account.Paused}}, "", 10, "c", false},
		"one of several":       {account.Filter{States: []account.State{account.Paused, account.Connecting}}, "", 10, "a b c d e", false},
		"state that none has":  {account.Filter{States: []account.State{account.Failed}}, "", 10, "", false},
		"condition of callers": {account.Filter{Match: func(a *account.Account) bool { return a.ID > "c" }}, "", 10, "d e", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			accounts, more := registry.List(c.filter, c.after, c.limit)
			var ids []string
			for _, a := range accounts {
				ids = append(ids, a.ID)
			}
			if got := strings.Join(ids, " "); got != c.want || more != c.more {
				t.Errorf("got %q, %v; want %q, %v", got, more, c.want, c.more)
			}
		})
	}
}

func TestRecordsOfOthersDoNotOpen(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	create(t, e.open(t), ann())
	kv, err := e.js.KeyValue(t.Context(), "postern_accounts")
	if err != nil {
		t.Fatal(err)
	}
	record, err := kv.Get(t.Context(), "account.ann")
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, value []byte) {
		if _, err := kv.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	put("account.eve", record.Value())
	put("account.junk", []byte("{"))
	put("account.later", []byte(`{"version":3}`))
	bob := ann()
	bob.ID = "moved"
	create(t, e.open(t), bob)
	record, err = kv.Get(t.Context(), "account.moved")
	if err != nil {
		t.Fatal(err)
	}
	put("account.moved", movePassword(t, record.Value()))

	unreadable := []string{"eve", "junk", "later", "moved"}
	registry := e.open(t)
	for _, id := range unreadable {
		_, err := registry.Get(t.Context(), id)
		wantError(t, err, account.ErrUnreadable)
	}
	accounts, _ := registry.List(account.Filter{}, "", 10)
	for _, a := range accounts {
		if a.ID != "ann" {
			t.Errorf("%s is listed", a.ID)
		}
	}
	// They can be removed, and do not keep the id from being used again.
	for _, id := range unreadable {
		if err := registry.Delete(t.Context(), id, ""); err != nil {
			t.Errorf("delete %s: %v", id, err)
		}
	}
	a := ann()
	a.ID = "eve"
	create(t, registry, a)
}

// movePassword puts the sealed password of imap into smtp.
func movePassword(t *testing.T, record []byte) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(record, &fields); err != nil {
		t.Fatal(err)
	}
	fields["smtp"].(map[string]any)["password"] = fields["imap"].(map[string]any)["password"]
	changed, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}
