package folder

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// record is all folders of an account. A record in the cache is never changed.
type record struct {
	Folders  []Folder `json:"folders"`
	revision uint64
}

// resolve finds folders by name, adds those that are not there, and takes over
// what else the server says of them.
func (rec *record) resolve(account string, seen []Seen) (folders []Folder, changed bool) {
	folders = make([]Folder, len(seen))
	known := make(map[string]int, len(rec.Folders))
	for i, f := range rec.Folders {
		if !f.Deleted {
			known[f.Name] = i
		}
	}
	for i, s := range seen {
		at, ok := known[s.Name]
		if !ok {
			at = len(rec.Folders)
			known[s.Name] = at
			rec.Folders = append(rec.Folders, Folder{Key: rec.newKey(account, s.Name), Name: s.Name})
			changed = true
		}
		f := &rec.Folders[at]
		if f.Delimiter != s.Delimiter || f.Prefix != s.Prefix {
			f.Delimiter, f.Prefix, changed = s.Delimiter, s.Prefix, true
		}
		folders[i] = *f
	}
	return folders, changed
}

// change applies edit to the account's record by compare-and-set, and returns the
// record's revision. edit reports whether it changed anything; it may run more
// than once, each time on a fresh copy.
func (r *Registry) change(ctx context.Context, account string, edit func(*record) (bool, error)) (revision uint64, err error) {
	age, act := cacheAge, "store folders of account "+account
	err = kvbucket.Change(ctx, act, func() error {
		rec, err := r.read(ctx, account, age)
		if err != nil {
			return err
		}
		revision, age = rec.revision, 0 // whoever is overtaken looks at what is stored
		edited := &record{Folders: slices.Clone(rec.Folders), revision: rec.revision}
		if changed, err := edit(edited); err != nil || !changed {
			return err
		}
		value, err := json.Marshal(edited)
		if err != nil {
			return fmt.Errorf("encode folders of account %s: %w", account, err)
		}
		// Update with revision 0 creates: it expects that there is none.
		edited.revision, err = r.kv.Update(ctx, recordKey(account), value, rec.revision)
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		r.keep(account, edited)
		revision = edited.revision
		return nil
	})
	return revision, err
}

// read returns the account's record, from memory if that is not older than age.
// While the store does not answer, an older one will do, unless age is 0: the
// mail can be read all the same, for who renames a folder cannot store it either.
func (r *Registry) read(ctx context.Context, account string, age time.Duration) (*record, error) {
	r.mu.Lock()
	known, ok := r.cache[account]
	r.mu.Unlock()
	switch {
	case !ok || age == 0:
		return r.load(ctx, account)
	case time.Since(known.read) < age:
		return known.record, nil
	}
	patient, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	rec, err := r.load(patient, account)
	if err != nil && ctx.Err() == nil {
		r.keep(account, known.record) // the store is asked again after a while
		return known.record, nil
	}
	return rec, err
}

// load reads the account's record from the store.
func (r *Registry) load(ctx context.Context, account string) (*record, error) {
	rec := &record{}
	entry, err := r.kv.Get(ctx, recordKey(account))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		// A purged key still has a revision, which Create would deal with and
		// Update does not: an account that is registered anew starts behind it.
		rec.revision, err = r.purgedRevision(ctx, account)
		if err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("read folders of account %s: %w", account, err)
	default:
		if err := json.Unmarshal(entry.Value(), rec); err != nil {
			return nil, fmt.Errorf("decode folders of account %s: %w", account, err)
		}
		rec.revision = entry.Revision()
	}
	r.keep(account, rec)
	return rec, nil
}

// purgedRevision is the revision of a key's deletion marker, 0 without one.
func (r *Registry) purgedRevision(ctx context.Context, account string) (uint64, error) {
	history, err := r.kv.History(ctx, recordKey(account))
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && len(history) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read folders of account %s: %w", account, err)
	}
	return history[len(history)-1].Revision(), nil
}

// keep puts a record into the cache, unless a newer one is there.
func (r *Registry) keep(account string, rec *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.cache[account]; ok && known.record.revision > rec.revision {
		return
	}
	r.cache[account] = cached{record: rec, read: time.Now()}
}

func recordKey(account string) string { return "folders." + account }

// byName is the index of the living folder of that name, or -1.
func (rec *record) byName(name string) int {
	return slices.IndexFunc(rec.Folders, func(f Folder) bool { return f.Name == name && !f.Deleted })
}

func (rec *record) byKey(key Key) int {
	return slices.IndexFunc(rec.Folders, func(f Folder) bool { return f.Key == key })
}

// prune drops the oldest deleted folders when there are very many, as where a
// program makes and deletes a folder every hour.
func (rec *record) prune() {
	excess := -1000
	for _, f := range rec.Folders {
		if f.Deleted {
			excess++
		}
	}
	rec.Folders = slices.DeleteFunc(rec.Folders, func(f Folder) bool {
		if !f.Deleted || excess <= 0 {
			return false
		}
		excess--
		return true
	})
}

// newKey computes a key from what everybody knows of a new folder, so that two
// who see it at the same time agree. n moves on past keys that are taken: by a
// deleted folder of that name, one that was renamed, or by chance.
func (rec *record) newKey(account, name string) Key {
	for n := uint64(0); ; n++ {
		hash := sha256.New()
		for _, part := range []string{account, name} {
			_ = binary.Write(hash, binary.BigEndian, uint64(len(part)))
			hash.Write([]byte(part))
		}
		_ = binary.Write(hash, binary.BigEndian, n)
		key := Key(hash.Sum(nil)[:keySize])
		if !key.IsZero() && rec.byKey(key) < 0 {
			return key
		}
	}
}
