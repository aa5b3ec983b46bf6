package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/secret"
)

// Survey is which keys are in use.
type Survey struct {
	// Active is the key that seals, since the time given; 0 before the first start.
	Active secret.KeyID
	Since  time.Time
	// Next is the key that is about to.
	Next secret.KeyID
	// Records counts the records that need a key, by kind.
	Records map[secret.KeyID]map[string]int
	// Unreadable counts the records of which it cannot be told, by kind.
	Unreadable map[string]int
	// Nodes are those that run on this NATS, if it is shared.
	Nodes []Node
}

// Needed reports whether any record needs a key.
func (s *Survey) Needed(key secret.KeyID) bool { return len(s.Records[key]) > 0 }

// Look finds out which keys are in use, from what is stored. No key is needed for it.
func Look(ctx context.Context, js jetstream.JetStream, kinds []Kind) (*Survey, error) {
	s := &Survey{Records: make(map[secret.KeyID]map[string]int), Unreadable: make(map[string]int)}
	if err := s.agreement(ctx, js); err != nil {
		return nil, err
	}
	for _, kind := range append([]Kind{derivedKind}, kinds...) {
		kv, err := kind.open(ctx, js)
		if err != nil {
			return nil, err
		}
		if kv == nil {
			continue
		}
		if err := each(ctx, kv, kind.Prefix, func(entry jetstream.KeyValueEntry) { s.count(kind, entry.Value()) }); err != nil {
			return nil, err
		}
	}
	var err error
	s.Nodes, err = running(ctx, js)
	return s, err
}

func (s *Survey) agreement(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	entry, err := kv.Get(ctx, agreementKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which key seals: %w", err)
	}
	a, err := decodeAgreement(entry)
	if err != nil {
		return err
	}
	s.Active, s.Next, s.Since = a.active(), a.Next, entry.Created()
	return nil
}

func (s *Survey) count(kind Kind, value []byte) {
	ids, err := kind.Keys(value)
	if err != nil {
		s.Unreadable[kind.Name]++
	}
	for _, id := range ids {
		if s.Records[id] == nil {
			s.Records[id] = make(map[string]int)
		}
		s.Records[id][kind.Name]++
	}
}
