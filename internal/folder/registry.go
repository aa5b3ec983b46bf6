package folder

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// storePatience bounds the wait for the store where what was read before will do.
const storePatience = time.Second

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

// Registry gives folders their keys. Whoever sees a folder first, owner or
// gateway, on whichever node, allocates the same key for it. It is safe for
// concurrent use.
type Registry struct {
	kv jetstream.KeyValue

	mu    sync.Mutex
	cache map[string]cached        // by account
	turns map[string]chan struct{} // by account, see Exclusive
}

type cached struct {
	record *record
	read   time.Time
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
	return &Registry{kv: kv, cache: make(map[string]cached), turns: make(map[string]chan struct{})}
}

// Resolve returns the folders that a server listed, in that order, and gives a
// key to those that have none.
func (r *Registry) Resolve(ctx context.Context, account string, seen []Seen) ([]Folder, error) {
	return r.resolve(ctx, account, seen, nil)
}

// ErrChanged is returned when what is known of an account's folders has changed
// since the server was asked for them: ask again.
var ErrChanged = errors.New("the folders have been changed meanwhile")

// ResolveSince is Resolve for a list that the server was asked for when what is
// known of the account's folders had the given revision. It fails with
// [ErrChanged] when it has another one now: a folder that was renamed in between
// would be taken for a new one under its old name.
func (r *Registry) ResolveSince(ctx context.Context, account string, revision uint64, seen []Seen) ([]Folder, error) {
	return r.resolve(ctx, account, seen, &revision)
}

func (r *Registry) resolve(ctx context.Context, account string, seen []Seen, since *uint64) ([]Folder, error) {
	if len(seen) > maxFolders {
		return nil, &TooManyFoldersError{Account: account, Folders: len(seen)}
	}
	var folders []Folder
	_, err := r.change(ctx, account, func(rec *record) (changed bool, err error) {
		if since != nil && rec.revision != *since {
			return false, fmt.Errorf("folders of account %s: %w", account, ErrChanged)
		}
		folders, changed = rec.resolve(account, seen)
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	return folders, nil
}

// Foresee is Resolve for those who only read: while the store does not answer,
// folders that have no key come with the one that they are going to get.
func (r *Registry) Foresee(ctx context.Context, account string, seen []Seen) ([]Folder, error) {
	patient, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	folders, err := r.Resolve(patient, account, seen)
	var tooMany *TooManyFoldersError
	if err == nil || ctx.Err() != nil || errors.As(err, &tooMany) {
		return folders, err
	}
	r.mu.Lock()
	known, ok := r.cache[account]
	r.mu.Unlock()
	if !ok {
		return nil, err
	}
	rec := &record{Folders: slices.Clone(known.record.Folders)}
	folders, _ = rec.resolve(account, seen)
	return folders, nil
}

// All returns all folders that are known of an account, those that are gone
// included, and the revision of that knowledge.
func (r *Registry) All(ctx context.Context, account string) (folders []Folder, revision uint64, err error) {
	rec, err := r.read(ctx, account, cacheAge)
	if err != nil {
		return nil, 0, err
	}
	return slices.Clone(rec.Folders), rec.revision, nil
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

// Renamed is a folder that has another name now.
type Renamed struct {
	Key Key
	To  Seen
}

// Rename records that folders have other names now, and returns the revision of
// what is known then. Their keys stay. A folder that had one of the names before
// is taken for deleted.
func (r *Registry) Rename(ctx context.Context, account string, renames ...Renamed) (revision uint64, err error) {
	return r.change(ctx, account, func(rec *record) (changed bool, err error) {
		moving := make(map[Key]bool, len(renames))
		for _, renamed := range renames {
			moving[renamed.Key] = true
		}
		for _, renamed := range renames {
			changed = rec.rename(renamed, moving) || changed
		}
		return changed, nil
	})
}

func (rec *record) rename(renamed Renamed, moving map[Key]bool) bool {
	i := rec.byKey(renamed.Key)
	if i < 0 || rec.Folders[i].Name == renamed.To.Name && !rec.Folders[i].Deleted {
		return false
	}
	if j := rec.byName(renamed.To.Name); j >= 0 && !moving[rec.Folders[j].Key] {
		rec.Folders[j].Deleted = true
	}
	f := &rec.Folders[i]
	if f.Was == "" {
		f.Was = f.Name
	}
	f.Name, f.Delimiter, f.Prefix, f.Deleted = renamed.To.Name, renamed.To.Delimiter, renamed.To.Prefix, false
	if f.Was == f.Name { // and back
		f.Was = ""
	}
	return true
}

// Told records that the event log knows a folder by its present name. Until then
// an owner that takes the account over finds the name that the log does know, so
// that no change of a name gets lost.
func (r *Registry) Told(ctx context.Context, account string, key Key) error {
	_, err := r.change(ctx, account, func(rec *record) (bool, error) {
		i := rec.byKey(key)
		if i < 0 || rec.Folders[i].Was == "" {
			return false, nil
		}
		rec.Folders[i].Was = ""
		return true, nil
	})
	return err
}

// SetRole records what somebody says a folder is for; the empty role takes that
// back. A role has one folder at most: another one loses it.
func (r *Registry) SetRole(ctx context.Context, account string, key Key, role Role) error {
	_, err := r.change(ctx, account, func(rec *record) (changed bool, err error) {
		i := rec.byKey(key)
		if i < 0 || rec.Folders[i].Deleted {
			return false, fmt.Errorf("folder %s of account %s: %w", key, account, ErrNotFound)
		}
		for j := range rec.Folders {
			f := &rec.Folders[j]
			switch {
			case j == i && f.Role != role:
				f.Role, changed = role, true
			case j != i && role != "" && role != RoleNone && f.Role == role:
				f.Role, changed = "", true
			}
		}
		return changed, nil
	})
	return err
}

// Delete records that folders are gone. One of the same name that comes later is
// another folder, with another key.
func (r *Registry) Delete(ctx context.Context, account string, keys ...Key) error {
	_, err := r.change(ctx, account, func(rec *record) (changed bool, err error) {
		for _, key := range keys {
			if i := rec.byKey(key); i >= 0 && !rec.Folders[i].Deleted {
				rec.Folders[i].Deleted, changed = true, true
			}
		}
		rec.prune()
		return changed, nil
	})
	return err
}

// Exclusive runs fn while nobody else on this node does so for the account. Both
// who renames and deletes folders and who compares the server's list with what is
// known hold it, so that neither sees the other's work half done.
func (r *Registry) Exclusive(ctx context.Context, account string, fn func() error) error {
	r.mu.Lock()
	turn := r.turns[account]
	if turn == nil {
		turn = make(chan struct{}, 1)
		r.turns[account] = turn
	}
	r.mu.Unlock()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the folders of account %s: %w", account, ctx.Err())
	}
	defer func() { <-turn }()
	return fn()
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
