package folder

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

func resolve(t *testing.T, r *Registry, account string, names ...string) []Folder {
	t.Helper()
	seen := make([]Seen, len(names))
	for i, name := range names {
		seen[i] = Seen{Name: name, Delimiter: '/'}
	}
	folders, err := r.Resolve(t.Context(), account, seen)
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

func TestKeysAreTheSameForAll(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	owner, gateway := NewRegistry(kv), NewRegistry(kv)
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprintf("Projects/%d", i)
	}
	var wg sync.WaitGroup
	results := make([][]Folder, 8)
	for i := range results {
		registry := []*Registry{owner, gateway}[i%2]
		wg.Go(func() {
			backwards := slices.Clone(names)
			if i%3 == 0 {
				slices.Reverse(backwards)
			}
			for _, name := range backwards {
				folders, err := registry.Resolve(t.Context(), "ann", []Seen{{Name: name, Delimiter: '/'}})
				if err != nil {
					t.Error(err)
					return
				}
				results[i] = append(results[i], folders...)
			}
			slices.SortFunc(results[i], func(a, b Folder) int { return slices.Compare(a.Key[:], b.Key[:]) })
		})
	}
	wg.Wait()
	for i, result := range results {
		if !slices.Equal(result, results[0]) || len(result) != len(names) {
			t.Fatalf("caller %d got other keys than caller 0:\n%v\n%v", i, result, results[0])
		}
	}
	if other := resolve(t, owner, "bob", names[0])[0]; other.Key == resolve(t, owner, "ann", names[0])[0].Key {
		t.Error("two accounts share a folder key")
	}
}

func TestKeySurvivesRename(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	r, elsewhere := NewRegistry(kv), NewRegistry(kv)
	before := resolve(t, r, "ann", "Work", "Old")
	work := before[0].Key
	if _, err := r.Rename(t.Context(), "ann", Renamed{work, Seen{Name: "Archive/Work", Delimiter: '/'}}); err != nil {
		t.Fatal(err)
	}
	got, err := elsewhere.ByKey(t.Context(), "ann", work)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "Archive/Work" || !slices.Equal(got.Path(), []string{"Archive", "Work"}) {
		t.Errorf("the renamed folder is %+v", got)
	}
	if again := resolve(t, r, "ann", "Work")[0]; again.Key == work {
		t.Error("a new folder under the old name has the key of the renamed one")
	}
	if _, err := r.Rename(t.Context(), "ann", Renamed{work, Seen{Name: "Old", Delimiter: '/'}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ByKey(t.Context(), "ann", before[1].Key); !errors.Is(err, ErrNotFound) {
		t.Errorf("the folder whose name was taken: %v, want ErrNotFound", err)
	}
}

func TestDeletedFolderIsAnotherOne(t *testing.T) {
	t.Parallel()
	r := NewRegistry(bucket(t))
	first := resolve(t, r, "ann", "Trip")[0].Key
	if err := r.Delete(t.Context(), "ann", first); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ByKey(t.Context(), "ann", first); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted folder: %v, want ErrNotFound", err)
	}
	if second := resolve(t, r, "ann", "Trip")[0].Key; second == first {
		t.Error("the new folder has the key of the deleted one")
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	r := NewRegistry(kv)
	first := resolve(t, r, "ann", "INBOX")[0].Key
	if err := r.Forget(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ByKey(t.Context(), "ann", first); !errors.Is(err, ErrNotFound) {
		t.Errorf("a forgotten folder: %v, want ErrNotFound", err)
	}
	for _, registry := range []*Registry{r, NewRegistry(kv)} {
		if again := resolve(t, registry, "ann", "INBOX")[0].Key; again != first {
			t.Errorf("the account registered anew has key %s for INBOX, want %s", again, first)
		}
	}
}

func TestNamesThatAreNoUTF8(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	const name = "\x00Entw\xfcrfe/Alt"
	first := resolve(t, NewRegistry(kv), "ann", name)[0]
	again := resolve(t, NewRegistry(kv), "ann", name)[0]
	if again != first || again.Name != name {
		t.Errorf("read again, the folder is %+v, want %+v", again, first)
	}
	if path := again.Path(); !slices.Equal(path, []string{"Entw\uFFFDrfe", "Alt"}) {
		t.Errorf("its path is %q", path)
	}
}

func TestFoldersAreBounded(t *testing.T) {
	t.Parallel()
	r := NewRegistry(bucket(t))
	seen := make([]Seen, maxFolders+1)
	for i := range seen {
		seen[i].Name = fmt.Sprintf("folder %d", i)
	}
	tooMany := (*TooManyFoldersError)(nil)
	if _, err := r.Resolve(t.Context(), "ann", seen); !errors.As(err, &tooMany) {
		t.Fatalf("%d folders: %v, want *TooManyFoldersError", len(seen), err)
	}
	folders, err := r.Resolve(t.Context(), "ann", seen[:maxFolders])
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[Key]bool)
	for i, f := range folders {
		if f.Name != seen[i].Name {
			t.Fatalf("folder %d is %q", i, f.Name)
		}
		keys[f.Key] = true
	}
	if len(keys) != maxFolders {
		t.Errorf("%d folders share %d keys", maxFolders, len(keys))
	}
}

func TestDeletedFoldersArePruned(t *testing.T) {
	t.Parallel()
	rec := &record{}
	for i := range 1500 {
		rec.Folders = append(rec.Folders, Folder{Key: rec.newKey("ann", fmt.Sprint(i)), Name: fmt.Sprint(i), Deleted: i%10 > 0})
	}
	newest := rec.Folders[1499].Key
	rec.prune()
	deleted := 0
	for _, f := range rec.Folders {
		if f.Deleted {
			deleted++
		}
	}
	if deleted != 1000 || len(rec.Folders) != 1150 || rec.byKey(newest) < 0 {
		t.Errorf("%d of %d folders are deleted ones; the newest is at %d", deleted, len(rec.Folders), rec.byKey(newest))
	}
}

// TestRenameIsNotForgotten: until it is told, the name that the log knows stays.
func TestRenameIsNotForgotten(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	r := NewRegistry(kv)
	before := resolve(t, r, "ann", "A", "A/B", "C")
	rename := func(to ...string) {
		t.Helper()
		var renames []Renamed
		for i, name := range to {
			renames = append(renames, Renamed{before[i].Key, Seen{Name: name, Delimiter: '/'}})
		}
		if _, err := r.Rename(t.Context(), "ann", renames...); err != nil {
			t.Fatal(err)
		}
	}
	known := func() []Folder {
		t.Helper()
		all, _, err := NewRegistry(kv).All(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	rename("X", "X/B")
	rename("Y", "Y/B")
	if all := known(); all[0].Told().Name != "A" || all[1].Told().Name != "A/B" || all[1].Name != "Y/B" {
		t.Errorf("after two renames: %+v", all)
	}
	if err := r.Told(t.Context(), "ann", before[0].Key); err != nil {
		t.Fatal(err)
	}
	rename("A", "A/B")
	if all := known(); all[0].Told().Name != "Y" || all[1].Told().Name != "A/B" || all[1].Was != "" {
		t.Errorf("after one was told and both are back: %+v", all)
	}
	// Two that change places take nothing from each other.
	_, err := r.Rename(t.Context(), "ann", Renamed{before[0].Key, Seen{Name: "C"}}, Renamed{before[2].Key, Seen{Name: "A"}})
	if all := known(); err != nil || all[0].Name != "C" || all[0].Deleted || all[2].Name != "A" || all[2].Deleted {
		t.Errorf("after a swap: %+v, %v", all, err)
	}
}

func TestResolveSince(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	r, elsewhere := NewRegistry(kv), NewRegistry(kv)
	work := resolve(t, r, "ann", "Work")[0]
	_, revision, err := r.All(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Rename(t.Context(), "ann", Renamed{work.Key, Seen{Name: "Job"}}); err != nil {
		t.Fatal(err)
	}
	// A list from before the rename: what is known of it in memory is good.
	if got, err := r.ResolveSince(t.Context(), "ann", revision, []Seen{{Name: "Work", Delimiter: work.Delimiter}}); err != nil || got[0].Key != work.Key {
		t.Errorf("%+v, %v", got, err)
	}
	// One from after it finds out, instead of making a new folder of the old one.
	if _, err := r.ResolveSince(t.Context(), "ann", revision, []Seen{{Name: "Job"}}); !errors.Is(err, ErrChanged) {
		t.Errorf("%v, want ErrChanged", err)
	}
	_, revision, _ = r.All(t.Context(), "ann")
	if got, err := r.ResolveSince(t.Context(), "ann", revision, []Seen{{Name: "Job"}}); err != nil || got[0].Key != work.Key {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSetRole(t *testing.T) {
	t.Parallel()
	kv := bucket(t)
	r := NewRegistry(kv)
	f := resolve(t, r, "ann", "A", "B")
	set := func(i int, role Role, want ...Role) {
		t.Helper()
		if err := r.SetRole(t.Context(), "ann", f[i].Key, role); err != nil {
			t.Fatal(err)
		}
		all, _, _ := NewRegistry(kv).All(t.Context(), "ann")
		if got := []Role{all[0].Role, all[1].Role}; !slices.Equal(got, want) {
			t.Errorf("roles %q, want %q", got, want)
		}
	}
	set(0, RoleSent, RoleSent, "")
	set(1, RoleSent, "", RoleSent)
	set(0, RoleNone, RoleNone, RoleSent)
	set(1, RoleNone, RoleNone, RoleNone)
	set(1, "", RoleNone, "")
	if err := r.Delete(t.Context(), "ann", f[0].Key); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRole(t.Context(), "ann", f[0].Key, RoleSent); !errors.Is(err, ErrNotFound) {
		t.Errorf("role of a deleted folder: %v", err)
	}
}

func TestPathHidesThePrefix(t *testing.T) {
	t.Parallel()
	r := NewRegistry(bucket(t))
	seen := []Seen{{"INBOX", '.', ""}, {"INBOX.Sent.2026", '.', "INBOX."}, {"\x00INBOX.&Jjo!", '.', "INBOX."}}
	folders, err := r.Resolve(t.Context(), "ann", seen)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"INBOX"}, {"Sent", "2026"}, {"&Jjo!"}} {
		if got := folders[i].Path(); !slices.Equal(got, want) {
			t.Errorf("%q has the path %q, want %q", seen[i].Name, got, want)
		}
	}
}
