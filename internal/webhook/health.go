package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// healthRecord is how a webhook fares, shared by the nodes. It is written when
// that changes, not with each request.
type healthRecord struct {
	// FailingSince is zero while requests succeed.
	FailingSince time.Time `json:"failing_since,omitzero"`
	// Error is what went wrong then.
	Error string `json:"error,omitempty"`
	// Event and Attempts are of the event that an ordered webhook is stuck at.
	Event    string `json:"event,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
}

// join adds to a webhook how it fares. Why it was disabled says more than what
// went wrong first.
func (h healthRecord) join(w *Webhook) {
	w.FailingSince = h.FailingSince
	if w.LastError == "" {
		w.LastError = h.Error
	}
}

func decodeHealth(value []byte) healthRecord {
	var h healthRecord
	// What cannot be read is as good as nothing: the webhook is not failing.
	_ = json.Unmarshal(value, &h)
	return h
}

// health reads how a webhook fares, and the revision of that, 0 when nothing is
// stored.
func (r *registry) health(ctx context.Context, id string) (healthRecord, uint64, error) {
	entry, err := r.kv.Get(ctx, healthPrefix+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return healthRecord{}, 0, nil
	}
	if err != nil {
		return healthRecord{}, 0, fmt.Errorf("read the health of webhook %s: %w", id, err)
	}
	return decodeHealth(entry.Value()), entry.Revision(), nil
}

// noteHealth applies a change to how a webhook fares.
func (r *registry) noteHealth(ctx context.Context, id string, change func(*healthRecord)) (after healthRecord, err error) {
	key, act := healthPrefix+id, "note the health of webhook "+id
	err = kvbucket.Change(ctx, act, func() error {
		before, revision, err := r.health(ctx, id)
		if err != nil {
			return err
		}
		after = before
		change(&after)
		if after == before {
			return nil
		}
		value, err := json.Marshal(after)
		if err != nil {
			return err
		}
		if revision == 0 {
			_, err = r.kv.Create(ctx, key, value)
		} else {
			_, err = r.kv.Update(ctx, key, value, revision)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
	return after, err
}
