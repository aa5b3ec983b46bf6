package acme

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/secret"
)

// Bucket is the key-value bucket of certificates, their keys, and what else nodes
// have to share to get them.
const Bucket = "postern_certificates"

// What there is in the bucket: each kind is the first token of its keys.
const (
	kindCertificate = "certificate"
	kindAccount     = "account"
	kindChallenge   = "challenge"
)

// SealedKinds are the kinds of records here that are sealed. Answers to challenges
// end by themselves.
func SealedKinds() []keyring.Kind {
	kind := func(name, kind string) keyring.Kind {
		return keyring.Kind{
			Name: name, Bucket: Bucket, Prefix: kind + ".", Keys: keyring.Whole,
			Reseal: func(box *secret.Box, id string, value []byte) ([]byte, error) {
				return box.Reseal(value, place(kind+"."+id))
			},
		}
	}
	return []keyring.Kind{kind("certificates", kindCertificate), kind("certificate accounts", kindAccount)}
}

// Store keeps sealed values that all nodes see: whichever of them the authority
// connects to has to answer, and one certificate serves all.
type Store struct {
	kv  jetstream.KeyValue
	box *secret.Box
}

// OpenStore makes or opens the bucket.
func OpenStore(ctx context.Context, js jetstream.JetStream, replicas int, box *secret.Box) (*Store, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      Bucket,
		Description: "Certificates of the API, sealed",
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return &Store{kv: kv, box: box}, nil
}

// slot is where a value is kept: its kind, and of what it is.
func slot(kind string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return kind + "." + hex.EncodeToString(sum[:16])
}

func place(slot string) []byte { return []byte("certificate/" + slot) }

// errNone is a slot without a value.
var errNone = errors.New("there is none")

// get gives a value. One that does not open any more is as good as none: all of
// them can be had anew.
func (s *Store) get(ctx context.Context, slot string) ([]byte, error) {
	entry, err := s.kv.Get(ctx, slot)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, errNone
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", slot, err)
	}
	value, err := s.box.Open(entry.Value(), place(slot))
	if errors.Is(err, secret.ErrOpen) {
		return nil, fmt.Errorf("%w that opens: %w", errNone, err)
	}
	return value, err
}

func (s *Store) put(ctx context.Context, slot string, value []byte) error {
	sealed, err := s.box.Seal(value, place(slot))
	if err != nil {
		return err
	}
	if _, err := s.kv.Put(ctx, slot, sealed); err != nil {
		return fmt.Errorf("write %s: %w", slot, err)
	}
	return nil
}

// remove takes a value away, and leaves nothing of it.
func (s *Store) remove(ctx context.Context, slot string) error {
	if err := s.kv.Purge(ctx, slot); err != nil {
		return fmt.Errorf("remove %s: %w", slot, err)
	}
	return nil
}
