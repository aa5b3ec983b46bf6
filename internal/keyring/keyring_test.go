package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is where the tests keep things: notes that are sealed anew, and slips that
// are not.
const bucket = "things"

type note struct {
	Text secret.Sealed `json:"text"`
	Kept string        `json:"kept"`
}

func sealer(box *secret.Box, id string) *secret.Sealer {
	return &secret.Sealer{Box: box, Record: "note/" + id}
}

var kinds = []keyring.Kind{
	{
		Name: "notes", Bucket: bucket, Prefix: "note.", Keys: keyring.InJSON[note],
		Reseal: func(box *secret.Box, id string, value []byte) ([]byte, error) {
			var n note
			if err := json.Unmarshal(value, &n); err != nil {
				return nil, err
			}
			s := sealer(box, id)
			n.Text = s.Seal("text", s.Open("text", n.Text))
			if s.Err != nil {
				return nil, s.Err
			}
			return json.Marshal(n)
		},
	},
	{Name: "slips", Bucket: bucket, Prefix: "slip.", Keys: keyring.Whole},
	{Name: "nothing", Bucket: "not_there", Keys: keyring.Whole},
}

// env is a NATS, and the directory of the nodes' key files.
type env struct {
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	dir string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{js: natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{})), dir: t.TempDir()}
	var err error
	if e.kv, err = e.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *env) file(name string) string { return filepath.Join(e.dir, name) }

// copyFile brings a key set to another node.
func (e *env) copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(e.file(from))
	if err != nil {
		t.Fatal(err)
	}
	temp := e.file(to) + ".new"
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, e.file(to)); err != nil {
		t.Fatal(err)
	}
}

// rotate rotates the keys in a file.
func (e *env) rotate(t *testing.T, name string) secret.KeyID {
	t.Helper()
	added, set, err := secret.InFile(e.file(name)).Rotate(t.Context())
	if err != nil || !set.IsZero() {
		t.Fatal(added, set, err)
	}
	return added
}

// node is a ring and its box.
type node struct {
	*keyring.Ring
	box  *secret.Box
	stop func()
}

// open opens the ring of a node whose keys are in the file of that name.
func (e *env) open(t *testing.T, name string, shared bool) (*node, error) {
	t.Helper()
	box, err := secret.OpenFile(e.file(name))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), e.js, keyring.Config{Box: box, Kinds: kinds, Shared: shared, Node: name})
	if err != nil {
		return nil, err
	}
	ring.SetSettle(time.Second)
	return &node{Ring: ring, box: box}, nil
}

// start runs a node, until stop; owner says that it does what one alone does.
func (e *env) start(t *testing.T, name string, shared, owner bool) *node {
	t.Helper()
	n, err := e.open(t, name, shared)
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, owner)
	return n
}

// run has an open node do its work, until stop.
func (n *node) run(t *testing.T, owner bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	if owner {
		running.Go(func() { _ = n.Own(ctx) })
	}
	n.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(n.stop)
}

// put seals a note.
func (e *env) put(t *testing.T, box *secret.Box, id string) {
	t.Helper()
	value, err := json.Marshal(note{Text: sealer(box, id).Seal("text", secret.New("text of "+id)), Kept: "kept " + id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.kv.Put(t.Context(), "note."+id, value); err != nil {
		t.Fatal(err)
	}
}

// check opens a note, and tells which key sealed it.
func (e *env) check(t *testing.T, box *secret.Box, id string) secret.KeyID {
	t.Helper()
	entry, err := e.kv.Get(t.Context(), "note."+id)
	if err != nil {
		t.Fatal(err)
	}
	var n note
	if err := json.Unmarshal(entry.Value(), &n); err != nil {
		t.Fatal(err)
	}
	s := sealer(box, id)
	if got := s.Open("text", n.Text).Reveal(); s.Err != nil || got != "text of "+id || n.Kept != "kept "+id {
		t.Errorf("note %s holds %q and %q (%v)", id, got, n.Kept, s.Err)
	}
	by, _ := secret.SealedBy(n.Text)
	return by
}

// holds watches that something stays as it is while looks of the nodes come and go.
func holds(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 25 {
		if !condition() {
			t.Fatal(what)
		}
		<-tick.C
	}
}

func (e *env) survey(t *testing.T) *keyring.Survey {
	t.Helper()
	s, err := keyring.Look(t.Context(), e.js, kinds)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A new key in the file seals within seconds, and what the old one has sealed is
// sealed anew, but for what ends by itself and what cannot be opened.
func TestRotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.start(t, "key", false, true)
	former := n.box.Uses()
	for i := range 20 {
		e.put(t, n.box, fmt.Sprint(i))
	}
	moved, err := e.kv.Get(t.Context(), "note.1")
	if err != nil {
		t.Fatal(err)
	}
	slip, err := n.box.Seal([]byte("slip"), []byte("slip"))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string][]byte{"note.moved": moved.Value(), "note.junk": []byte("{"), "slip.one": slip} {
		if _, err := e.kv.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	links, err := n.Derived(t.Context(), "links")
	if err != nil {
		t.Fatal(err)
	}
	link, err := links.Seal([]byte("link"), []byte("link"))
	if err != nil {
		t.Fatal(err)
	}
	added := e.rotate(t, "key")
	waittest.For(t, "records to be sealed anew", func() bool {
		s := e.survey(t)
		return s.Active == added && s.Records[added]["notes"] == 20 && s.Records[added]["derived keys"] == 1
	})
	for i := range 20 {
		if by := e.check(t, n.box, fmt.Sprint(i)); by != added {
			t.Errorf("key %d sealed note %d, want %d", by, i, added)
		}
	}
	s := e.survey(t)
	if got := s.Records[former]; len(got) != 2 || got["notes"] != 1 || got["slips"] != 1 || s.Unreadable["notes"] != 1 {
		t.Errorf("the old key is needed by %v, unreadable %v; want the moved note and the slip", got, s.Unreadable)
	}
	if got, err := e.kv.Get(t.Context(), "note.moved"); err != nil || got.Revision() != 22 && !slices.Equal(got.Value(), moved.Value()) {
		t.Errorf("what does not open was changed: %v", err)
	}

	// A later start finds all of it, and so do links when the old key is gone.
	n.stop()
	if _, err := secret.InFile(e.file("key")).Remove(t.Context(), []secret.KeyID{former}); err != nil {
		t.Fatal(err)
	}
	n = e.start(t, "key", false, true)
	if n.box.Uses() != added {
		t.Errorf("after a restart key %d seals", n.box.Uses())
	}
	e.check(t, n.box, "7")
	if links, err = n.Derived(t.Context(), "links"); err != nil {
		t.Fatal(err)
	}
	if plain, err := links.Open(link, []byte("link")); err != nil || string(plain) != "link" {
		t.Errorf("the link opens to %q, %v", plain, err)
	}
}

// Nothing is sealed with a key that a node which runs does not have.
func TestNewKeyWaitsForAllNodes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.start(t, "one", true, true)
	e.copyFile(t, "one", "two")
	second := e.start(t, "two", true, false)
	former := first.box.Uses()
	added := e.rotate(t, "one")
	waittest.For(t, "the first node to know the key", func() bool {
		s := e.survey(t)
		return len(s.Nodes) == 2 && slices.Contains(s.Nodes[0].Keys, added)
	})
	e.put(t, first.box, "early")
	holds(t, "a key seals before all nodes have it, or is to be the next", func() bool {
		s := e.survey(t)
		return s.Active == former && s.Next == 0
	})
	if by := e.check(t, second.box, "early"); by != former {
		t.Errorf("key %d sealed", by)
	}
	e.copyFile(t, "one", "two")
	waittest.For(t, "both nodes to seal with the new key", func() bool {
		return first.box.Uses() == added && second.box.Uses() == added
	})
	waittest.For(t, "the record to be sealed anew", func() bool { return e.check(t, second.box, "early") == added })
	if err := errors.Join(first.Ready(), second.Ready()); err != nil {
		t.Error(err)
	}

	// An owner with a file from before does not turn the wheel back, since it does
	// not start.
	second.stop()
	if err := os.Remove(e.file("two")); err != nil {
		t.Fatal(err)
	}
	_, err := e.open(t, "two", true)
	wrong, ok := errors.AsType[*secret.WrongKeyError](err)
	if !ok || wrong.Key != added || wrong.Source != e.file("two") {
		t.Errorf("error %v, want a WrongKeyError about %d", err, added)
	}
	if s := e.survey(t); len(s.Nodes) != 1 {
		t.Errorf("%d nodes are taken to run, want 1", len(s.Nodes))
	}
}

// A node that starts without the next key takes it back.
func TestVeto(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.start(t, "one", true, true)
	first.SetSettle(time.Hour)
	e.copyFile(t, "one", "two")
	former := first.box.Uses()
	added := e.rotate(t, "one")
	waittest.For(t, "the key to be the next", func() bool { return e.survey(t).Next == added })
	second := e.start(t, "two", true, false)
	if s := e.survey(t); s.Next != 0 || s.Active != former {
		t.Errorf("next is %d, active %d, after a start without it", s.Next, s.Active)
	}
	second.stop()
	waittest.For(t, "the key to be the next again", func() bool { return e.survey(t).Next == added })
}

// A node that runs and lacks the key in use, as one that was cut off for long may,
// says so and is well again once it has the key.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	cutOff, err := e.open(t, "two", true)
	if err != nil {
		t.Fatal(err)
	}
	e.copyFile(t, "two", "one")
	added := e.rotate(t, "one")
	// It asks nobody, as if the word of the one that is cut off had lapsed.
	e.start(t, "one", false, true)
	waittest.For(t, "the other node to use the new key", func() bool { return e.survey(t).Active == added })
	cutOff.run(t, false)
	waittest.For(t, "the node to say what it lacks", func() bool {
		err := cutOff.Ready()
		return err != nil && strings.Contains(err.Error(), fmt.Sprint(added)) && strings.Contains(err.Error(), e.file("two"))
	})
	e.copyFile(t, "one", "two")
	waittest.For(t, "the node to be well", func() bool { return cutOff.Ready() == nil && cutOff.box.Uses() == added })
}

// A key that has sealed before does not seal again.
func TestFormerKeyStaysFormer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.start(t, "key", false, true)
	e.copyFile(t, "key", "old")
	second := e.rotate(t, "key")
	waittest.For(t, "the second key", func() bool { return e.survey(t).Active == second })
	// With the old file in its place the node keeps what it has.
	e.copyFile(t, "old", "key")
	e.rotate(t, "old") // into another line, without the second key
	e.copyFile(t, "old", "key")
	holds(t, "another key seals after an older file came back", func() bool {
		return n.box.Uses() == second && e.survey(t).Active == second
	})
	e.put(t, n.box, "later")
	if by := e.check(t, n.box, "later"); by != second {
		t.Errorf("key %d sealed", by)
	}
}

// The check value of an earlier version counts.
func TestInherit(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	box, err := secret.OpenFile(e.file("key"))
	if err != nil {
		t.Fatal(err)
	}
	check, err := box.NewCheck(box.Uses())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := e.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "postern_accounts"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "check", check); err != nil {
		t.Fatal(err)
	}
	_, err = e.open(t, "other", false)
	if wrong, ok := errors.AsType[*secret.WrongKeyError](err); !ok || wrong.Source != e.file("other") || wrong.Key != box.Uses() {
		t.Fatalf("another key: error %v, want a WrongKeyError", err)
	}
	if _, err := e.open(t, "key", false); err != nil {
		t.Errorf("the right key: %v", err)
	}
}
