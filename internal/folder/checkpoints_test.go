package folder

import (
	"math"
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

// However many holes a folder has, its snapshot is stored whole.
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
		parts    bool
	}{
		{name: "a million messages, every third UID gone", snapshot: folder(1_000_000, 2)},
		{name: "a million messages, ten times as many gone", snapshot: folder(1_000_000, 20)},
		{name: "many with gaps of thousands", snapshot: folder(600_000, 5000), parts: true},
		{name: "other ones of them", snapshot: folder(600_000, 5000), parts: true},
		{name: "few again", snapshot: folder(100, 1000)},
	} {
		loaded, err := c.Load(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if before := loaded[key]; before != nil {
			test.snapshot.Revision, test.snapshot.Parts = before.Revision, before.Parts
		}
		t.Logf("%s: %d ranges, %d bytes", test.name, len(test.snapshot.UIDs), len(test.snapshot.encode()))
		if err := c.Save(t.Context(), "ann", key, test.snapshot); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if loaded, err = c.Load(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		got := loaded[key]
		if got.UIDNext != test.snapshot.UIDNext || !slices.Equal(got.UIDs, test.snapshot.UIDs) {
			t.Errorf("%s: the UIDs differ", test.name)
		}
		parts, err := c.partsOf(t.Context(), "ann", key.String())
		if err != nil {
			t.Fatal(err)
		}
		if got.Parts != test.parts || (len(parts) > 0) != test.parts || len(parts) > 3 {
			t.Errorf("%s: stored in parts: %v, %d parts are there", test.name, got.Parts, len(parts))
		}
	}
	if err := c.Save(t.Context(), "ann", key, &Snapshot{}); err == nil {
		t.Error("a snapshot that knows no other replaced one")
	}
	if err := c.Delete(t.Context(), "ann", key); err != nil {
		t.Fatal(err)
	}
}

func TestUIDsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	sets := []imap.UIDSet{
		nil, {{Start: 1, Stop: math.MaxUint32}}, {{Start: math.MaxUint32, Stop: math.MaxUint32}},
		{{Start: 65535, Stop: 65536}, {Start: 131071, Stop: 131071}, {Start: 131073, Stop: 400000}},
	}
	for _, density := range []float64{0.001, 0.1, 0.5, 0.9, 0.999} {
		var set imap.UIDSet
		for uid := imap.UID(1); uid < 300_000; uid++ {
			if random.Float64() >= density {
				continue
			}
			if n := len(set); n > 0 && set[n-1].Stop+1 == uid {
				set[n-1].Stop = uid
			} else {
				set = append(set, imap.UIDRange{Start: uid, Stop: uid})
			}
		}
		sets = append(sets, set)
	}
	for i, set := range sets {
		b := appendUIDs(nil, set)
		d := &snapshotReader{b: b}
		if got := d.uids(); !slices.Equal(got, set) || d.bad || len(d.b) > 0 {
			t.Errorf("set %d of %d ranges is not read as written", i, len(set))
		}
		// A bit a UID, for every block that has some, is the most that is taken.
		if most := 300_000/8 + 8*mapSize; len(b) > most && i != 1 {
			t.Errorf("set %d of %d ranges takes %d bytes", i, len(set), len(b))
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(someSnapshot().encode())
	f.Add((&Snapshot{UIDsUnknown: true}).encode())
	f.Add([]byte{snapshotVersion})
	f.Add(compress([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x01\x01\x05")))
	f.Add((&Snapshot{UIDs: imap.UIDSet{{Start: 65535, Stop: 65536}}, Excluded: true, Overflowing: true, Backfill: 7, Reused: 9}).encode())
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
