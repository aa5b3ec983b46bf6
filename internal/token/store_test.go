package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// deadline bounds the waits for what takes a moment.
const deadline = 30 * time.Second

func newBox(t *testing.T) *secret.Box {
	t.Helper()
	box, err := secret.OpenFile(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// nodes opens stores on one NATS, as several nodes do.
func nodes(t *testing.T, n int, config Config) ([]*Store, jetstream.JetStream) {
	t.Helper()
	server := natsdtest.Start(t, natsd.Config{})
	if config.Box == nil {
		config.Box = newBox(t)
	}
	stores := make([]*Store, n)
	var js jetstream.JetStream
	for i := range stores {
		js = natsdtest.JetStream(t, server)
		stores[i] = open(t, js, config)
	}
	return stores, js
}

func open(t *testing.T, js jetstream.JetStream, config Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// reader is a token that reads the mail of ann.
func reader() *Token {
	return &Token{
		DisplayName: "reader", Creator: "admin",
		Grant: access.Grant{Scopes: []access.Scope{access.MessagesRead}, Accounts: []string{"ann"}},
	}
}

func create(t *testing.T, s *Store, wanted *Token) Secret {
	t.Helper()
	made := NewSecret()
	if _, err := s.Create(t.Context(), made, wanted); err != nil {
		t.Fatal(err)
	}
	return made
}

func show(s *Store, shown Secret) (access.Principal, error) {
	return s.Authenticate(context.Background(), access.Credentials{Token: shown.Text()})
}

func isOver(who access.Principal) bool {
	select {
	case <-who.Ended:
		return true
	default:
		return false
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 2, Config{})
	one, two := stores[0], stores[1]
	made := create(t, one, reader())
	who, err := show(one, made)
	if err != nil || who.ID != "tokens/"+made.ID() || !who.Has(access.MessagesRead) || !slices.Equal(who.Accounts, []string{"ann"}) {
		t.Fatalf("it is %+v, %v", who, err)
	}
	waittest.For(t, "the other node to know the token", func() bool { _, err := show(two, made); return err == nil })

	other := NewSecret()
	body := textPrefix + made.ID() + other.text.Reveal()[len(textPrefix)+idLength:textLength-sumLength]
	mixed, ok := ParseSecret(secret.New(body + checkSum(body)))
	if !ok || mixed.ID() != made.ID() {
		t.Fatal("the forged token is not well-formed")
	}
	for name, shown := range map[string]secret.String{
		"unknown": other.Text(), "of a known id": mixed.Text(), "nothing": secret.New(""), "some text": secret.New("hello"),
		"longer": secret.New(made.text.Reveal() + "a"), "only its id": secret.New(made.ID()),
	} {
		who, err := one.Authenticate(t.Context(), access.Credentials{Token: shown})
		if !errors.Is(err, access.ErrInvalid) || who.ID != "" {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if _, ended := errors.AsType[*access.EndedError](err); ended {
			t.Errorf("%s: it counts as somebody's", name)
		}
	}
}

// Whoever has shown a token is told when it ends, on every node.
func TestRevocationReachesEveryNode(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 3, Config{})
	made := create(t, stores[0], reader())
	callers := make([]access.Principal, len(stores))
	for i, s := range stores {
		waittest.For(t, "a node to know the token", func() bool {
			who, err := show(s, made)
			callers[i] = who
			return err == nil
		})
	}
	began := time.Now()
	revoked, err := stores[1].Revoke(t.Context(), made.ID(), "")
	if err != nil || revoked.State(time.Now()) != Revoked {
		t.Fatalf("%+v, %v", revoked, err)
	}
	if _, err := show(stores[1], made); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("on the node that revoked it, it is still taken: %v", err)
	}
	for i, who := range callers {
		waittest.For(t, "a caller to be told", func() bool { return isOver(who) })
		_, err := show(stores[i], made)
		if ended, ok := errors.AsType[*access.EndedError](err); !ok || ended.ID != who.ID || !errors.Is(err, access.ErrInvalid) {
			t.Errorf("node %d: %v", i, err)
		}
	}
	t.Logf("in force on %d nodes after %s", len(stores), time.Since(began))

	again, err := stores[2].Revoke(t.Context(), made.ID(), "")
	if err != nil || !again.RevokeTime.Equal(revoked.RevokeTime) || again.Etag != revoked.Etag {
		t.Errorf("revoked again: %+v, %v", again, err)
	}
	if _, err := stores[0].Update(t.Context(), made.ID(), "", func(*Token) error { return nil }); !errors.Is(err, ErrEnded) {
		t.Errorf("a revoked token is changed: %v", err)
	}
	if err := stores[0].Delete(t.Context(), made.ID(), ""); err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		waittest.For(t, "the token to be forgotten", func() bool { return len(s.All()) == 0 })
	}
}

func TestUpdateEndsCallsOnlyForOtherRights(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 2, Config{})
	made := create(t, stores[0], reader())
	update := func(change func(*Token)) {
		t.Helper()
		if _, err := stores[1].Update(t.Context(), made.ID(), "", func(k *Token) error { change(k); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	who, err := show(stores[0], made)
	if err != nil {
		t.Fatal(err)
	}
	update(func(k *Token) { k.DisplayName = "another" })
	waittest.For(t, "the new name", func() bool {
		k, err := stores[0].Get(t.Context(), made.ID())
		return err == nil && k.DisplayName == "another"
	})
	if isOver(who) {
		t.Error("a new name ended a call")
	}
	for _, change := range []func(*Token){
		func(k *Token) { k.Scopes = []access.Scope{access.EventsRead} },
		func(k *Token) { k.Accounts = []string{"ann", "bob"} },
		func(k *Token) { k.Labels = map[string]string{"team": "sales"} },
		func(k *Token) { k.ExpireTime = time.Now().Add(time.Hour) },
	} {
		if who, err = show(stores[0], made); err != nil {
			t.Fatal(err)
		}
		update(change)
		waittest.For(t, "the end of a call", func() bool { return isOver(who) })
	}
	if who, err = show(stores[0], made); err != nil || !who.Has(access.EventsRead) || who.Has(access.MessagesRead) {
		t.Errorf("after the changes it is %+v, %v", who, err)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	stores, js := nodes(t, 1, Config{})
	wanted := reader()
	wanted.ExpireTime = time.Now().Add(1500 * time.Millisecond)
	made := create(t, stores[0], wanted)
	who, err := show(stores[0], made)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-who.Ended:
	case <-time.After(deadline):
		t.Fatal("nobody is told of the expiry")
	}
	if early := time.Until(wanted.ExpireTime.Truncate(time.Microsecond)); early > 0 {
		t.Errorf("it ended %s early", early)
	}
	if _, err := show(stores[0], made); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("it is still taken: %v", err)
	}
	// One that had expired when the node started.
	later := open(t, js, stores[0].config)
	if _, err := show(later, made); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("another node takes it: %v", err)
	}
	if k, err := later.Get(t.Context(), made.ID()); err != nil || k.State(time.Now()) != Expired {
		t.Errorf("it is listed as %+v, %v", k, err)
	}
}

func TestEtags(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 1, Config{})
	s := stores[0]
	made := create(t, s, reader())
	k, err := s.Get(t.Context(), made.ID())
	if err != nil {
		t.Fatal(err)
	}
	if k, err = s.Update(t.Context(), made.ID(), k.Etag, func(k *Token) error { k.DisplayName = "b"; return nil }); err != nil {
		t.Fatal(err)
	}
	const old = "1"
	_, updated := s.Update(t.Context(), made.ID(), old, func(*Token) error { return nil })
	_, revoked := s.Revoke(t.Context(), made.ID(), old)
	for _, err := range []error{updated, revoked, s.Delete(t.Context(), made.ID(), old)} {
		if !errors.Is(err, ErrEtagMismatch) {
			t.Errorf("with an old etag: %v", err)
		}
	}
	if _, err := s.Revoke(t.Context(), "none", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("of one that is not there: %v", err)
	}
	if err := s.Delete(t.Context(), made.ID(), k.Etag); err != nil {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 1, Config{Limit: 2})
	s := stores[0]
	first := create(t, s, reader())
	create(t, s, reader())
	_, err := s.Create(t.Context(), NewSecret(), reader())
	if full, ok := errors.AsType[*limit.FullError](err); !ok || full.Most != 2 {
		t.Fatalf("a third one: %v", err)
	}
	// The same once more is no other one.
	if k, err := s.Create(t.Context(), first, reader()); err != nil || k.ID != first.ID() {
		t.Errorf("the first again: %+v, %v", k, err)
	}
	if _, err := s.Revoke(t.Context(), first.ID(), ""); err != nil {
		t.Fatal(err)
	}
	create(t, s, reader())
}

// What can be read of the store has neither tokens nor what they are for, and what
// somebody else writes into it makes no token.
func TestStoredBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := natsdtest.Start(t, natsd.Config{DataDir: dir})
	js := natsdtest.JetStream(t, server)
	s := open(t, js, Config{Box: newBox(t)})
	wanted := reader()
	wanted.DisplayName = "canary-name"
	made, other := create(t, s, wanted), create(t, s, reader())
	hash := made.hash()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		text := made.text.Reveal()
		for what, canary := range map[string][]byte{
			"the token": []byte(text), "its secret": []byte(text[len(textPrefix)+idLength+1:]), "its hash": hash[:], "its name": []byte("canary-name"),
		} {
			if bytes.Contains(content, canary) {
				t.Errorf("%s has %s", path, what)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The record of one token over that of another, and garbage.
	record, err := s.kv.Get(t.Context(), tokenPrefix+made.ID())
	if err != nil {
		t.Fatal(err)
	}
	for id, value := range map[string][]byte{other.ID(): record.Value(), "forged0123456789": record.Value(), "garbage": []byte("{}")} {
		if _, err := s.kv.Put(t.Context(), tokenPrefix+id, value); err != nil {
			t.Fatal(err)
		}
	}
	waittest.For(t, "the overwritten token to be nobody's", func() bool { _, err := show(s, other); return errors.Is(err, access.ErrInvalid) })
	if _, err := show(s, made); err != nil {
		t.Errorf("the copied token is not taken any more: %v", err)
	}
	if all := s.All(); len(all) != 1 {
		t.Errorf("%d tokens are listed", len(all))
	}
	open(t, js, s.config) // which such records do not keep from starting
}

func TestLastUse(t *testing.T) {
	t.Parallel()
	stores, js := nodes(t, 2, Config{})
	made := create(t, stores[0], reader())
	if k, _ := stores[0].Get(t.Context(), made.ID()); !k.LastUseTime.IsZero() {
		t.Errorf("before its use it was used at %s", k.LastUseTime)
	}
	began := time.Now().Truncate(time.Second)
	if _, err := show(stores[0], made); err != nil {
		t.Fatal(err)
	}
	k, err := stores[0].Get(t.Context(), made.ID())
	if err != nil || k.LastUseTime.Before(began) || k.LastUseTime.After(time.Now()) {
		t.Errorf("it was used at %v, %v", k.LastUseTime, err)
	}
	etag := k.Etag
	stores[0].Close()
	waittest.For(t, "the other node to know", func() bool {
		k, err := stores[1].Get(t.Context(), made.ID())
		return err == nil && !k.LastUseTime.Before(began)
	})
	third := open(t, js, stores[1].config)
	if k, err := third.Get(t.Context(), made.ID()); err != nil || k.LastUseTime.Before(began) || k.Etag != etag {
		t.Errorf("after a restart: %+v, %v", k, err)
	}
}

// A token whose record is sealed anew is the same: its etag stays, and calls that were
// made with it go on.
func TestSealedAnew(t *testing.T) {
	t.Parallel()
	stores, js := nodes(t, 1, Config{})
	s := stores[0]
	made := create(t, s, reader())
	before, err := s.Get(t.Context(), made.ID())
	if err != nil {
		t.Fatal(err)
	}
	who, err := show(s, made)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	record, err := kv.Get(t.Context(), tokenPrefix+made.ID())
	if err != nil {
		t.Fatal(err)
	}
	value, err := SealedKinds()[0].Reseal(s.config.Box.(*secret.Box), made.ID(), record.Value())
	if err != nil || bytes.Equal(value, record.Value()) {
		t.Fatalf("sealed anew: %v", err)
	}
	revision, err := kv.Update(t.Context(), record.Key(), value, record.Revision())
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the record to be read", func() bool { return s.cache.reached() >= revision })
	if after, err := s.Get(t.Context(), made.ID()); err != nil || after.Etag != before.Etag {
		t.Errorf("the etag was %q, is %v (%v)", before.Etag, after, err)
	}
	if isOver(who) {
		t.Error("calls that were made with the token end")
	}
	if _, err := s.Revoke(t.Context(), made.ID(), before.Etag); err != nil {
		t.Errorf("a change with the etag from before: %v", err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 1, Config{Limit: 2})
	s := stores[0]
	end := func(at time.Time) string {
		made := create(t, s, reader())
		if _, err := s.change(t.Context(), made.ID(), "", func(k *Token) error { k.RevokeTime = at; return nil }); err != nil {
			t.Fatal(err)
		}
		return made.ID()
	}
	long, first := end(time.Now().Add(-keptEnded-time.Hour)), end(time.Now().Add(-2*time.Hour))
	second, third := end(time.Now().Add(-time.Hour)), end(time.Now())
	alive := create(t, s, reader())
	if _, err := show(s, alive); err != nil {
		t.Fatal(err)
	}
	s.flush(t.Context())
	s.sweep(t.Context())
	want := []string{second, third, alive.ID()}
	slices.Sort(want)
	waittest.For(t, "only the latest to be listed", func() bool {
		var ids []string
		for _, k := range s.All() {
			ids = append(ids, k.ID)
		}
		slices.Sort(ids)
		return slices.Equal(ids, want)
	})
	for _, id := range []string{long, first} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s is still there: %v", id, err)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	stores, _ := nodes(t, 1, Config{})
	var want []string
	for i := range 5 {
		k := reader()
		k.DisplayName = fmt.Sprint(i)
		create(t, stores[0], k)
		want = append([]string{k.DisplayName}, want...)
	}
	var got []string
	for _, k := range stores[0].All() {
		got = append(got, k.DisplayName)
		k.Accounts[0] = "changed by a caller"
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
	if stores[0].All()[0].Accounts[0] != "ann" {
		t.Error("what is given out is shared")
	}
}
