package folder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go/jetstream"
)

// Checkpoints keeps the snapshots of all folders. Only the owner of an account
// writes there. What keeps two owners apart is the event log's
// compare-and-set; a former owner that does not know yet that it is one cannot
// overwrite a snapshot of its successor, because a snapshot only replaces the
// one that its writer knows.
type Checkpoints struct{ kv jetstream.KeyValue }

// NewCheckpoints returns the checkpoints that are kept in a bucket of
// [OpenBucket].
func NewCheckpoints(kv jetstream.KeyValue) *Checkpoints { return &Checkpoints{kv: kv} }

// Load returns the snapshots of an account's folders.
func (c *Checkpoints) Load(ctx context.Context, account string) (map[Key]*Snapshot, error) {
	keys, err := c.keys(ctx, snapshotKey(account, "*"))
	if err != nil {
		return nil, err
	}
	snapshots := make(map[Key]*Snapshot, len(keys))
	for _, name := range keys {
		key, err := ParseKey(strings.TrimPrefix(name, snapshotKey(account, "")))
		if err != nil {
			return nil, fmt.Errorf("checkpoints of account %s: %w", account, err)
		}
		entry, err := c.kv.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		s, err := c.decode(ctx, account, key, entry.Value())
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", name, err)
		}
		s.Revision = entry.Revision()
		snapshots[key] = s
	}
	return snapshots, nil
}

func (c *Checkpoints) keys(ctx context.Context, pattern string) ([]string, error) {
	lister, err := c.kv.ListKeysFiltered(ctx, pattern)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints %s: %w", pattern, err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	return keys, nil
}

// Save stores a folder's snapshot in place of the one that s.Revision names, and
// sets s.Revision to its own. It fails when another one is stored there.
func (c *Checkpoints) Save(ctx context.Context, account string, key Key, s *Snapshot) error {
	var former []string
	value := s.encode()
	parts := len(value) > maxValue
	if s.Parts || parts {
		var err error
		if former, err = c.partsOf(ctx, account, key.String()); err != nil {
			return err
		}
	}
	if parts {
		var err error
		if value, err = c.savePartsOf(ctx, account, key, value); err != nil {
			return err
		}
	}
	revision, err := c.replace(ctx, snapshotKey(account, key.String()), value, s.Revision)
	if err != nil {
		return fmt.Errorf("save checkpoint of folder %s of account %s: %w", key, account, err)
	}
	s.Revision, s.Parts = revision, parts
	return c.purge(ctx, former)
}

func (c *Checkpoints) replace(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return c.kv.Create(ctx, key, value) // also where there was one that was deleted
	}
	return c.kv.Update(ctx, key, value, revision)
}

// Delete drops a folder's snapshot.
func (c *Checkpoints) Delete(ctx context.Context, account string, key Key) error {
	parts, err := c.partsOf(ctx, account, key.String())
	if err != nil {
		return err
	}
	return c.purge(ctx, append(parts, snapshotKey(account, key.String())))
}

func (c *Checkpoints) purge(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := c.kv.Purge(ctx, key); err != nil {
			return fmt.Errorf("delete checkpoint %s: %w", key, err)
		}
	}
	return nil
}

// Position is a place in the event log up to which all snapshots of an account
// are good: a folder whose snapshot is older has not changed since.
type Position struct {
	Sequence uint64 `json:"sequence"`
	Number   uint64 `json:"number"`
}

// LoadPosition returns what SavePosition stored, or the zero Position.
func (c *Checkpoints) LoadPosition(ctx context.Context, account string) (Position, error) {
	var p Position
	err := c.load(ctx, positionKey(account), &p)
	return p, err
}

// SavePosition stores up to where the snapshots are good. They have to be saved
// before.
func (c *Checkpoints) SavePosition(ctx context.Context, account string, p Position) error {
	return c.save(ctx, positionKey(account), p)
}

func positionKey(account string) string { return "position." + account }

// First is what an owner found when it came to an account for the first time.
type First struct {
	// Incarnation tells this registration of the account from an earlier one
	// under the same id.
	Incarnation string `json:"incarnation"`
	// After is where the log was: what is behind it is of this registration.
	After Position `json:"after"`
	// Replaces says that events of an earlier registration were left without
	// an end there.
	Replaces bool `json:"replaces,omitempty"`
	// Folders were there before the account was registered, so their mail is
	// old; a folder that is none of them is new, and all in it. Nil means that
	// they have not been listed yet.
	Folders []Key `json:"folders"`
	// Seen is how the folders were when they were listed first, by their keys:
	// what has a higher UID came after that.
	Seen map[Key]FirstSeen `json:"seen,omitempty"`
	// SyncStarted and SyncCompleted count the comparisons of everything of which
	// the log has the beginning and the end.
	SyncStarted   uint64 `json:"syncStarted,omitempty"`
	SyncCompleted uint64 `json:"syncCompleted,omitempty"`
}

// FirstSeen is how a folder was at first.
type FirstSeen struct {
	UIDValidity uint32   `json:"uidValidity"`
	UIDNext     imap.UID `json:"uidNext"`
}

// LoadFirst returns what SaveFirst stored, or nil.
func (c *Checkpoints) LoadFirst(ctx context.Context, account string) (*First, error) {
	var first *First
	err := c.load(ctx, firstKey(account), &first)
	return first, err
}

// SaveFirst stores what was found first.
func (c *Checkpoints) SaveFirst(ctx context.Context, account string, first *First) error {
	return c.save(ctx, firstKey(account), first)
}

// Accounts lists the accounts that something is kept about.
func (c *Checkpoints) Accounts(ctx context.Context) ([]string, error) {
	keys, err := c.keys(ctx, firstKey("*"))
	if err != nil {
		return nil, err
	}
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], firstKey(""))
	}
	return keys, nil
}

// load reads a small record in JSON. One that is not there leaves to as it is.
func (c *Checkpoints) load(ctx context.Context, key string, to any) error {
	entry, err := c.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), to)
	}
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", key, err)
	}
	return nil
}

func (c *Checkpoints) save(ctx context.Context, key string, from any) error {
	value, err := json.Marshal(from)
	if err == nil {
		_, err = c.kv.Put(ctx, key, value)
	}
	if err != nil {
		return fmt.Errorf("save checkpoint %s: %w", key, err)
	}
	return nil
}

func firstKey(account string) string { return "first." + account }

// Forget drops all that is kept about an account. What [Checkpoints.Accounts]
// goes by is dropped last, so that one that fails in between is known of.
func (c *Checkpoints) Forget(ctx context.Context, account string) error {
	keys, err := c.keys(ctx, snapshotKey(account, "*"))
	if err != nil {
		return err
	}
	parts, err := c.partsOf(ctx, account, "*")
	if err != nil {
		return err
	}
	return c.purge(ctx, slices.Concat(keys, parts, []string{positionKey(account), firstKey(account)}))
}

func snapshotKey(account, key string) string { return "state." + account + "." + key }
