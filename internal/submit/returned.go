package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// Mail that comes back names what was sent by its Message-ID or by its envelope id,
// which the keys sent.<account>.<hash> lead from to the submission.
const sentPrefix = "sent."

// sentKey is the key for an id of a kind, "message" or "envelope".
func sentKey(account, kind, id string) string {
	sum := sha256.Sum256([]byte(kind + ":" + id))
	return sentPrefix + account + "." + idEncoding.EncodeToString(sum[:])
}

// sentKeys are the keys that lead to a submission. A Message-ID that does so by itself
// needs none.
func sentKeys(made *Submission) (keys []string) {
	if id, ok := idIn(made.MessageID); made.MessageID != "" && (!ok || id != made.ID) {
		keys = append(keys, sentKey(made.Account, "message", made.MessageID))
	}
	if made.EnvelopeID != "" {
		keys = append(keys, sentKey(made.Account, "envelope", made.EnvelopeID))
	}
	return keys
}

// indexTTL is for how long mail that comes back can be matched to a submission: as long
// as that is kept by default.
func indexTTL(made *Submission) time.Duration {
	return (time.Until(made.GiveUpTime) + DefaultRetention).Round(time.Second)
}

// index makes a submission one that mail which comes back can be matched to. Where an
// id is that of another submission already, it stays so.
func (s *Store) index(ctx context.Context, made *Submission) error {
	for _, key := range sentKeys(made) {
		_, err := s.kv.Create(ctx, key, []byte(made.ID), jetstream.KeyTTL(indexTTL(made)))
		if err != nil && !kvbucket.IsConflict(err) {
			return fmt.Errorf("index submission %s: %w", made.ID, err)
		}
	}
	return nil
}

// Match gives the id of the submission whose message had a Message-ID, or else an
// envelope id; empty for none.
func (s *Store) Match(ctx context.Context, account, messageID, envelopeID string) (string, error) {
	if id, ok := idIn(messageID); ok {
		submission, err := s.Get(ctx, account, id)
		if err == nil && submission.MessageID == messageID {
			return id, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	for _, key := range []struct{ kind, id string }{{"message", messageID}, {"envelope", envelopeID}} {
		if key.id == "" {
			continue
		}
		entry, err := s.kv.Get(ctx, sentKey(account, key.kind, key.id))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("look for the submission of a message: %w", err)
		}
		return string(entry.Value()), nil
	}
	return "", nil
}

// Bounced notes that a message came back from recipients to whom it had been sent.
// Doing so again changes nothing, and for a submission that is no longer kept there
// is nothing to do.
func (s *Store) Bounced(ctx context.Context, account, id string, addresses []string) error {
	return kvbucket.Change(ctx, "note what came back of submission "+id, func() error {
		submission, err := s.Get(ctx, account, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || !submission.bounced(addresses) {
			return err
		}
		return s.write(ctx, submission)
	})
}

// bounced changes the state of recipients, and reports whether it did. The one
// recipient of a message is meant even if another address bounced, to which it was
// forwarded.
func (s *Submission) bounced(addresses []string) (changed bool) {
	for i := range s.Recipients {
		r := &s.Recipients[i]
		if r.State != RecipientSent && r.State != RecipientUncertain {
			continue
		}
		meant := len(s.Recipients) == 1 && len(addresses) > 0
		for _, address := range addresses {
			meant = meant || strings.EqualFold(r.Address, address)
		}
		if meant {
			r.State, changed = RecipientBounced, true
		}
	}
	return changed
}
