package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// derivedPrefix is before the names of derived keys.
const derivedPrefix = "derived."

var derivedKind = Kind{
	Name: "derived keys", Bucket: Bucket, Prefix: derivedPrefix, Keys: Whole,
	Reseal: func(box *secret.Box, id string, value []byte) ([]byte, error) {
		return box.Reseal(value, derivedPlace(id))
	},
}

func derivedPlace(name string) []byte { return []byte("postern/derived/" + name) }

// Derived gives a box with a key of its own, made at the first call for a name. The
// key is kept in the store, sealed, so what the box seals opens for as long as the
// store lasts, also when all keys of today have been retired. That is for what is
// given out for years, such as links in mail.
func (r *Ring) Derived(ctx context.Context, name string) (*secret.Box, error) {
	sealed, err := r.derivedKey(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", name, err)
	}
	set, err := r.box.Open(sealed, derivedPlace(name))
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", name, err)
	}
	return secret.Given("the store, for "+name, secret.New(string(set))).Open(ctx)
}

// derivedKey gives the sealed key, a new one if there is none.
func (r *Ring) derivedKey(ctx context.Context, name string) ([]byte, error) {
	entry, err := r.kv.Get(ctx, derivedPrefix+name)
	if err == nil {
		return entry.Value(), nil
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, err
	}
	set, err := secret.Generate()
	if err != nil {
		return nil, err
	}
	sealed, err := r.box.Seal([]byte(set.Reveal()), derivedPlace(name))
	if err != nil {
		return nil, err
	}
	_, err = r.kv.Create(ctx, derivedPrefix+name, sealed)
	if kvbucket.IsConflict(err) { // another node was faster
		if entry, err = r.kv.Get(ctx, derivedPrefix+name); err == nil {
			return entry.Value(), nil
		}
	}
	return sealed, err
}
