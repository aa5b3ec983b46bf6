// Package requestid makes calls safe to repeat: it remembers for 24 hours what a
// caller's request id was used for and what came of it.
//
// The claim of an id is written before anything is done, and what came of it
// after. A repetition therefore gets the first answer; or, where the first
// attempt died in between, goes on with what that one had planned.
package requestid

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/kvbucket"
)

const (
	bucket = "postern_requests"
	// Kept is for how long an id is remembered, as the API says.
	Kept = 24 * time.Hour
)

// ErrReused says that a request id was used before for something else, or for
// something that is gone.
var ErrReused = errors.New("the request id has been used for another request: use a fresh one")

// box seals what is kept, since the hash of a request with little in it can be
// guessed. secret.Box is one.
type box interface {
	Seal(plain, place []byte) ([]byte, error)
	Open(sealed, place []byte) ([]byte, error)
}

// SealedKinds are the records that are sealed. They end by themselves.
func SealedKinds() []keyring.Kind {
	return []keyring.Kind{{Name: "requests", Bucket: bucket, Keys: keyring.Whole}}
}

// Store remembers request ids. It is safe for concurrent use.
type Store struct {
	kv  jetstream.KeyValue
	box box
	// beat and stale are shorter in tests.
	beat, stale time.Duration
}

// Open opens the store, and makes its bucket at the first start. replicas is the
// number of NATS servers that keep a copy.
func Open(ctx context.Context, js jetstream.JetStream, replicas int, box box) (*Store, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      bucket,
		Description: "Postern: what request ids were used for",
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
		TTL:         Kept,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return &Store{kv: kv, box: box, beat: beat, stale: stale}, nil
}

// Attempt is one attempt at what a request asks for.
type Attempt struct {
	// Repeated says that it is not the first.
	Repeated bool
	// Plan is what the first attempt decided on, such as the id of what is to be
	// made. Every attempt has the same.
	Plan string
	// Outcome is what came of the first attempt that was finished, such as the name
	// of what was made; empty while there is none.
	Outcome string
	// Key stands for the id. A record that holds the key of the request which made it
	// tells a repetition that its work is done. It is empty without an id.
	Key string

	store  *Store
	digest []byte
	// revision and written are those of what is kept, and uncertain says that an
	// attempt has ended without an outcome that is known: see [Store.Do].
	revision  uint64
	written   time.Time
	uncertain bool
}

// claim is what is kept of an id, sealed.
type claim struct {
	Digest  []byte `json:"digest"`
	Plan    string `json:"plan,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	// Uncertain says that the last attempt has ended and may have done its work.
	Uncertain bool `json:"uncertain,omitempty"`
}

// Begin begins an attempt. scope tells apart what ids are used for, such as the
// method and the account; content is all that is asked for. Without an id there is
// nothing to remember, and the attempt is the first and only. It fails with
// [ErrReused] if the id was used with other content.
func (s *Store) Begin(ctx context.Context, scope, id string, content []byte, plan string) (*Attempt, error) {
	digest := sha256.Sum256(content)
	a := &Attempt{Plan: plan, digest: digest[:]}
	if id == "" {
		return a, nil
	}
	hash := sha256.Sum256([]byte(scope + "\x00" + id))
	a.store, a.Key = s, hex.EncodeToString(hash[:16])
	value, err := a.encode()
	if err != nil {
		return nil, err
	}
	a.revision, err = s.kv.Create(ctx, a.Key, value)
	if err == nil {
		return a, nil
	}
	if !kvbucket.IsConflict(err) {
		return nil, fmt.Errorf("claim the request id: %w", err)
	}
	earlier, entry, err := s.read(ctx, a.Key)
	if err != nil {
		return nil, err
	}
	if string(earlier.Digest) != string(a.digest) {
		return nil, ErrReused
	}
	a.Repeated, a.Plan, a.Outcome = true, earlier.Plan, earlier.Outcome
	a.revision, a.written, a.uncertain = entry.Revision(), entry.Created(), earlier.Uncertain
	return a, nil
}

func (s *Store) read(ctx context.Context, key string) (*claim, jetstream.KeyValueEntry, error) {
	entry, err := s.kv.Get(ctx, key)
	if err != nil {
		return nil, nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	plain, err := s.box.Open(entry.Value(), []byte("request/"+key))
	if err != nil {
		return nil, nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	earlier := &claim{}
	if err := json.Unmarshal(plain, earlier); err != nil {
		return nil, nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	return earlier, entry, nil
}

func (a *Attempt) encode() ([]byte, error) {
	plain, err := json.Marshal(claim{Digest: a.digest, Plan: a.Plan, Outcome: a.Outcome, Uncertain: a.uncertain})
	if err != nil {
		return nil, err
	}
	sealed, err := a.store.box.Seal(plain, []byte("request/"+a.Key))
	if err != nil {
		return nil, fmt.Errorf("seal the claim of the request id: %w", err)
	}
	return sealed, nil
}

// Deleted reports whether a record of a bucket was deleted after the id was claimed,
// by the marker that a deletion leaves. For that the bucket must keep its markers for
// longer than [Kept]. It is for attempts that nobody finishes.
func (a *Attempt) Deleted(ctx context.Context, kv jetstream.KeyValue, key string) (bool, error) {
	history, err := kv.History(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the deletion of what the request made: %w", err)
	}
	last := history[len(history)-1]
	return last.Operation() != jetstream.KeyValuePut && last.Created().After(a.written), nil
}

// Finish records what came of the attempt, for repetitions.
func (a *Attempt) Finish(ctx context.Context, outcome string) error {
	a.Outcome = outcome
	if a.store == nil {
		return nil
	}
	value, err := a.encode()
	if err != nil {
		return err
	}
	if _, err := a.store.kv.Put(ctx, a.Key, value); err != nil {
		return fmt.Errorf("record what came of the request: %w", err)
	}
	return nil
}
