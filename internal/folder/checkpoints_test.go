package folder

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func someSnapshot() *Snapshot {
	return &Snapshot{
		Sequence: 12345, Number: 77, UIDValidity: 4294967295, UIDNext: 4294967295, HighestModSeq: 1<<63 - 1,
		UIDs:       imap.UIDSet{{Start: 1, Stop: 3}, {Start: 7, Stop: 7}, {Start: 4000000000, Stop: 4294967294}},
		Flags:      []MessageFlags{{UID: 2, Flags: `\Seen`}, {UID: 3}, {UID: 7, Flags: `\Seen`}},
		Identities: []Identity{{UID: 2, EmailID: "M1"}, {UID: 4294967294, EmailID: "M2"}},
	}
}

func TestSnapshotsAreLoadedAsSaved(t *testing.T) {
	t.Parallel()
	kv, err := OpenBucket(t.Context(), connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCheckpoints(kv)
	folders := resolve(t, NewRegistry(kv), "ann", "INBOX", "Sent", "Trash")
	want := map[Key]*Snapshot{
		folders[0].Key: someSnapshot(),
		folders[1].Key: {UIDValidity: 1, UIDNext: 1},
	}
	for key, s := range want {
		if err := c.Save(t.Context(), "ann", key, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, drop := range []struct {
		account string
		key     Key
	}{{"ann", folders[2].Key}, {"anna", folders[0].Key}} {
		if err := c.Save(t.Context(), drop.account, drop.key, someSnapshot()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Delete(t.Context(), "ann", folders[2].Key); err != nil {
		t.Fatal(err)
	}
	got, err := c.Load(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("snapshots (-saved +loaded):\n%s", d)
	}
	position := Position{Sequence: 9, Number: 8}
	if err := c.SavePosition(t.Context(), "ann", position); err != nil {
		t.Fatal(err)
	}
	if got, err := c.LoadPosition(t.Context(), "ann"); err != nil || got != position {
		t.Errorf("the position is %+v, %v", got, err)
	}
	first := &First{Incarnation: "1", Folders: []Key{folders[0].Key}}
	if err := c.SaveFirst(t.Context(), "ann", first); err != nil {
		t.Fatal(err)
	}
	if got, err := c.LoadFirst(t.Context(), "ann"); err != nil || !cmp.Equal(got, first) {
		t.Errorf("the first folders are %+v, %v", got, err)
	}
	if got, err := c.Accounts(t.Context()); err != nil || !slices.Equal(got, []string{"ann"}) {
		t.Errorf("something is kept about %v, %v", got, err)
	}
	if err := c.Forget(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Load(t.Context(), "ann"); err != nil || len(got) > 0 {
		t.Errorf("after Forget: %v, %v", got, err)
	}
	if got, err := c.LoadFirst(t.Context(), "ann"); err != nil || got != nil {
		t.Errorf("after Forget the first folders are %+v, %v", got, err)
	}
	if got, err := c.LoadPosition(t.Context(), "ann"); err != nil || got != (Position{}) {
		t.Errorf("after Forget the position is %+v, %v", got, err)
	}
	if err := c.Save(t.Context(), "ann", folders[0].Key, someSnapshot()); err != nil {
		t.Errorf("a snapshot where one was forgotten: %v", err)
	}
	if got, err := c.Load(t.Context(), "anna"); err != nil || len(got) != 1 {
		t.Errorf("the other account has %v, %v", got, err)
	}
}

// A former owner cannot put its snapshot in place of its successor's.
func TestSnapshotsReplaceOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	c := NewCheckpoints(kv)
	key := resolve(t, NewRegistry(kv), "ann", "INBOX")[0].Key
	former := someSnapshot()
	if err := c.Save(t.Context(), "ann", key, former); err != nil {
		t.Fatal(err)
	}
	loaded, err := c.Load(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	successor := loaded[key]
	successor.Number++
	if err := c.Save(t.Context(), "ann", key, successor); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(t.Context(), "ann", key, former); err == nil {
		t.Error("the former owner's snapshot was saved")
	}
	if err := c.Save(t.Context(), "ann", key, someSnapshot()); err == nil {
		t.Error("a snapshot was saved as the first although there is one")
	}
	if err := c.Save(t.Context(), "ann", key, successor); err != nil {
		t.Error(err)
	}
}

// A folder of a million messages with holes at random fits into a value that
// any NATS server takes; one that does not fit loses its UIDs, not its place.
func TestLargeFoldersFit(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	c := NewCheckpoints(kv)
	key := resolve(t, NewRegistry(kv), "ann", "INBOX")[0].Key
	random := rand.New(rand.NewPCG(1, 2))
	folder := func(messages int, gap int) *Snapshot {
		s := &Snapshot{UIDValidity: 1, Sequence: 9}
		uid := imap.UID(0)
		for range messages {
			uid += imap.UID(1 + random.IntN(gap))
			// AddNum would take a minute under the race detector.
			if n := len(s.UIDs); n > 0 && s.UIDs[n-1].Stop+1 == uid {
				s.UIDs[n-1].Stop = uid
			} else {
				s.UIDs = append(s.UIDs, imap.UIDRange{Start: uid, Stop: uid})
			}
		}
		s.UIDNext = uid + 1
		return s
	}
	for _, test := range []struct {
		name     string
		snapshot *Snapshot
		unknown  bool
	}{
		{name: "a million messages, every third UID gone", snapshot: folder(1_000_000, 2)},
		{name: "gaps of hundreds", snapshot: folder(1_500_000, 1000), unknown: true},
	} {
		loaded, err := c.Load(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if before := loaded[key]; before != nil {
			test.snapshot.Revision = before.Revision
		}
		t.Logf("%s: %d ranges, %d bytes", test.name, len(test.snapshot.UIDs), len(test.snapshot.encode()))
		if err := c.Save(t.Context(), "ann", key, test.snapshot); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if loaded, err = c.Load(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		got := loaded[key]
		if got.UIDsUnknown != test.unknown || got.UIDNext != test.snapshot.UIDNext {
			t.Errorf("%s: UIDs unknown %v, UIDNEXT %d", test.name, got.UIDsUnknown, got.UIDNext)
		}
		if !test.unknown && !slices.Equal(got.UIDs, test.snapshot.UIDs) {
			t.Errorf("%s: the UIDs differ", test.name)
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(someSnapshot().encode())
	f.Add((&Snapshot{UIDsUnknown: true}).encode())
	f.Add([]byte{snapshotVersion})
	f.Add(compress([]byte("\x00\x00\x00\x00\x00\x00\x05\x01\x01")))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := decodeSnapshot(value)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(s.encode())
		if err != nil {
			t.Fatalf("what was decoded does not decode when encoded: %v", err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Fatalf("encoding loses something:\n%s", d)
		}
	})
}
