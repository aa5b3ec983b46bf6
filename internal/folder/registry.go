package folder

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is the key-value bucket of folder keys and checkpoints.
const Bucket = "postern_mailboxes"

// ErrNotFound is returned for a key that no folder of the account has, or has
// any more.
var ErrNotFound = errors.New("no such folder")

// cacheAge bounds how long a node goes on with what it read: a folder that
// another node renamed is found under its new name after this time.
const cacheAge = 10 * time.Second

// maxTries bounds how often a change of a record is tried anew because somebody
// else changed it at the same time.
const maxTries = 100

// maxFolders bounds an account's record. Real mailboxes have some hundreds of
// folders at most; a server that lists more than this is broken or hostile.
const maxFolders = 5000

// TooManyFoldersError reports a server that lists more folders than an account
// may have.
type TooManyFoldersError struct {
	Account string
	Folders int
}

// Error implements error.
func (e *TooManyFoldersError) Error() string {
	return fmt.Sprintf("the server of account %s lists %d folders; at most %d are possible", e.Account, e.Folders, maxFolders)
}

// Folder is a folder's identity.
type Folder struct {
	Key Key
	// Name is the folder's name as the server has it, with its delimiters, in
	// the form that imapconn takes.
	Name string
	// Delimiter separates the levels of Name; 0 when there are none.
	Delimiter rune
	// Deleted says that the folder is gone. Its key is not given out again.
	Deleted bool
}

// storedFolder is a Folder in JSON. The name is bytes there: some servers have
// names that are no UTF-8, which JSON would not bring back.
type storedFolder struct {
	Key       Key    `json:"key"`
	Name      []byte `json:"name"`
	Delimiter rune   `json:"delimiter,omitempty"`
	Deleted   bool   `json:"deleted,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (f Folder) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedFolder{f.Key, []byte(f.Name), f.Delimiter, f.Deleted})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *Folder) UnmarshalJSON(b []byte) error {
	var stored storedFolder
	if err := json.Unmarshal(b, &stored); err != nil {
		return err
	}
	*f = Folder{stored.Key, string(stored.Name), stored.Delimiter, stored.Deleted}
	return nil
}

// Path is the name as one element per level.
func (f Folder) Path() []string {
	// A name in no valid encoding is marked by a NUL, for the server; people
	// see it as it is.
	name := strings.ToValidUTF8(strings.TrimPrefix(f.Name, "\x00"), "\uFFFD")
	if f.Delimiter == 0 {
		return []string{name}
	}
	return strings.Split(name, string(f.Delimiter))
}

// Seen is a folder as a server lists it.
type Seen struct {
	Name      string
	Delimiter rune
}

// Registry gives folders their keys. Whoever sees a folder first, owner or
// gateway, on whichever node, allocates the same key for it. It is safe for
// concurrent use.
type Registry struct {
	kv jetstream.KeyValue

	mu    sync.Mutex
	cache map[string]cached // by account
}

type cached struct {
	record *record
	read   time.Time
}

// record is all folders of an account. A record in the cache is never changed.
type record struct {
	Folders  []Folder `json:"folders"`
	revision uint64
}

// OpenBucket makes or opens the bucket that the registry and the checkpoints
// share. replicas is the number of NATS servers that keep a copy.
func OpenBucket(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "Postern's folder keys and checkpoints",
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return kv, nil
}

// NewRegistry returns the registry that is kept in a bucket of [OpenBucket].
func NewRegistry(kv jetstream.KeyValue) *Registry {
	return &Registry{kv: kv, cache: make(map[string]cached)}
}

// Resolve returns the folders that a server listed, in that order, and gives a
// key to those that have none.
func (r *Registry) Resolve(ctx context.Context, account string, seen []Seen) ([]Folder, error) {
	if len(seen) > maxFolders {
		return nil, &TooManyFoldersError{Account: account, Folders: len(seen)}
	}
	folders := make([]Folder, len(seen))
	err := r.change(ctx, account, func(rec *record) bool {
		known := make(map[string]Folder, len(rec.Folders))
		for _, f := range rec.Folders {
			if !f.Deleted {
				known[f.Name] = f
			}
		}
		before := len(rec.Folders)
		for i, s := range seen {
			f, ok := known[s.Name]
			if !ok {
				f = Folder{Key: rec.newKey(account, s.Name), Name: s.Name, Delimiter: s.Delimiter}
				known[s.Name] = f
				rec.Folders = append(rec.Folders, f)
			}
			folders[i] = f
		}
		return len(rec.Folders) > before
	})
	if err != nil {
		return nil, err
	}
	return folders, nil
}

// ByKey returns the folder that has a key. It fails with [ErrNotFound] when
// none has, or the one that had it was deleted.
func (r *Registry) ByKey(ctx context.Context, account string, key Key) (Folder, error) {
	rec, err := r.read(ctx, account, cacheAge)
	if err != nil {
		return Folder{}, err
	}
	i := rec.byKey(key)
	if i < 0 { // it may be new
		if rec, err = r.read(ctx, account, 0); err != nil {
			return Folder{}, err
		}
		i = rec.byKey(key)
	}
	if i < 0 || rec.Folders[i].Deleted {
		return Folder{}, fmt.Errorf("folder %s of account %s: %w", key, account, ErrNotFound)
	}
	return rec.Folders[i], nil
}

// Rename records that a folder has another name now. Its key stays. A folder
// that had the name before is taken for deleted.
func (r *Registry) Rename(ctx context.Context, account string, key Key, to Seen) error {
	return r.change(ctx, account, func(rec *record) bool {
		i := rec.byKey(key)
		if i < 0 || rec.Folders[i].Name == to.Name {
			return false
		}
		if j := rec.byName(to.Name); j >= 0 {
			rec.Folders[j].Deleted = true
		}
		rec.Folders[i].Name, rec.Folders[i].Delimiter, rec.Folders[i].Deleted = to.Name, to.Delimiter, false
		return true
	})
}

// Delete records that a folder is gone. One of the same name that comes later
// is another folder, with another key.
func (r *Registry) Delete(ctx context.Context, account string, key Key) error {
	return r.change(ctx, account, func(rec *record) bool {
		i := rec.byKey(key)
		if i < 0 || rec.Folders[i].Deleted {
			return false
		}
		rec.Folders[i].Deleted = true
		rec.prune()
		return true
	})
}

// Forget drops everything about an account, as when it is deleted.
func (r *Registry) Forget(ctx context.Context, account string) error {
	r.mu.Lock()
	delete(r.cache, account)
	r.mu.Unlock()
	if err := r.kv.Purge(ctx, recordKey(account)); err != nil {
		return fmt.Errorf("forget folders of account %s: %w", account, err)
	}
	return nil
}

// change applies edit to the account's record by compare-and-set. edit reports
// whether it changed anything; it may run more than once, each time on a fresh
// copy.
func (r *Registry) change(ctx context.Context, account string, edit func(*record) bool) error {
	age := cacheAge
	for range maxTries {
		rec, err := r.read(ctx, account, age)
		if err != nil {
			return err
		}
		edited := &record{Folders: slices.Clone(rec.Folders), revision: rec.revision}
		if !edit(edited) {
			return nil
		}
		value, err := json.Marshal(edited)
		if err != nil {
			return fmt.Errorf("encode folders of account %s: %w", account, err)
		}
		// Update with revision 0 creates: it expects that there is none.
		edited.revision, err = r.kv.Update(ctx, recordKey(account), value, rec.revision)
		if err == nil {
			r.keep(account, edited)
			return nil
		}
		if !isConflict(err) {
			return fmt.Errorf("store folders of account %s: %w", account, err)
		}
		age = 0
	}
	return fmt.Errorf("store folders of account %s: others keep changing them", account)
}

// read returns the account's record, from memory if that is not older than age.
func (r *Registry) read(ctx context.Context, account string, age time.Duration) (*record, error) {
	r.mu.Lock()
	known, ok := r.cache[account]
	r.mu.Unlock()
	if ok && time.Since(known.read) < age {
		return known.record, nil
	}
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

// isConflict reports whether a compare-and-set found another revision than it
// expected.
func isConflict(err error) bool {
	var apiErr *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &apiErr) && apiErr.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

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
