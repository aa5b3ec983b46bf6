// Package keyring keeps the keys in order that seal what is stored: which one seals
// at present, as all nodes agree; what old ones have sealed, which it seals anew; and
// which of them are still needed.
//
// What is sealed with a key must open on every node, and key files get to nodes at
// different times. So the key that seals is not simply the primary one of whichever
// file a node has read, but the one that a record in the store names, and that moves
// on to a new primary key only when all nodes that run have it.
package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// Kind is one kind of sealed record: those of a bucket whose keys begin with Prefix.
type Kind struct {
	// Name is for people, such as "accounts".
	Name           string
	Bucket, Prefix string
	// Keys gives the ids of the keys that a record needs.
	Keys func(value []byte) ([]secret.KeyID, error)
	// Reseal gives a record with its secrets sealed by the key that the box uses,
	// and nothing else changed. id is what follows Prefix. It is nil for records
	// that soon end by themselves.
	Reseal func(box *secret.Box, id string, value []byte) ([]byte, error)
}

// Whole is [Kind.Keys] for records that are one sealed value.
func Whole(value []byte) ([]secret.KeyID, error) {
	id, ok := secret.SealedBy(value)
	if !ok {
		return nil, errors.New("not a sealed value")
	}
	return []secret.KeyID{id}, nil
}

// InJSON is [Kind.Keys] for records in JSON with fields of type [secret.Sealed].
func InJSON[T any](value []byte) ([]secret.KeyID, error) {
	var record T
	if json.Unmarshal(value, &record) != nil {
		return nil, errors.New("damaged") // the parser's error may quote the record
	}
	return secret.KeysOf(record), nil
}

// open gives the kind's bucket, nil when there is none yet.
func (k Kind) open(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, k.Bucket)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("open bucket %s: %w", k.Bucket, err)
	}
	return kv, nil
}

// each gives every record of a bucket whose key begins with prefix.
func each(ctx context.Context, kv jetstream.KeyValue, prefix string, take func(entry jetstream.KeyValueEntry)) error {
	if err := kvbucket.Each(ctx, kv, []string{prefix + ">"}, take); err != nil {
		return fmt.Errorf("read bucket %s: %w", kv.Bucket(), err)
	}
	return nil
}
