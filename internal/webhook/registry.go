package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

const (
	bucket = "postern_webhooks"

	webhookPrefix = "webhook."
	healthPrefix  = "health."

	// markerTTL is for how long a deletion is remembered: longer than request
	// ids, so that a late repetition does not bring the webhook back.
	markerTTL = requestid.Kept + time.Hour
)

// registry keeps the settings. Reads and writes go to the bucket itself: they
// are rare, and whoever has just written has to see it on any node.
type registry struct {
	kv       jetstream.KeyValue
	box      *secret.Box
	requests *requestid.Store
	logger   *slog.Logger
	most     int
}

func openRegistry(ctx context.Context, js jetstream.JetStream, config Config) (*registry, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      bucket,
		Description: "Postern: webhooks, with sealed secrets, and how they fare",
		Storage:     jetstream.FileStorage,
		Replicas:    max(config.Replicas, 1),
		// No history: an old secret is not kept once it was replaced.
		History:        1,
		LimitMarkerTTL: markerTTL,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return &registry{kv: kv, box: config.Box, requests: config.Requests, logger: config.Logger, most: config.Most}, nil
}

// load reads a webhook, without its health.
func (r *registry) load(ctx context.Context, id string) (*stored, error) {
	entry, err := r.kv.Get(ctx, webhookPrefix+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, fmt.Errorf("webhook %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read webhook %s: %w", id, err)
	}
	return decode(r.box, id, entry.Value(), entry.Revision())
}

// get reads a webhook with its health.
func (r *registry) get(ctx context.Context, id string) (*Webhook, error) {
	found, err := r.load(ctx, id)
	if err != nil {
		return nil, err
	}
	h, _, err := r.health(ctx, id)
	if err != nil {
		return nil, err
	}
	h.join(found.Webhook)
	return found.Webhook, nil
}

// list reads the webhooks with an id above after that match chooses, sorted, and at
// most limit.
func (r *registry) list(ctx context.Context, match func(*Webhook) bool, after string, limit int) (webhooks []*Webhook, more bool, err error) {
	found := make(map[string]*Webhook)
	fares := make(map[string]healthRecord)
	err = r.readAll(ctx, func(entry jetstream.KeyValueEntry) {
		if id, ok := strings.CutPrefix(entry.Key(), healthPrefix); ok {
			fares[id] = decodeHealth(entry.Value())
			return
		}
		id := strings.TrimPrefix(entry.Key(), webhookPrefix)
		if id <= after {
			return
		}
		one, err := decode(r.box, id, entry.Value(), entry.Revision())
		if err != nil {
			r.logger.Error("a webhook is left out", "webhook", id, "error", err)
			return
		}
		if match == nil || match(one.Webhook) {
			found[id] = one.Webhook
		}
	})
	if err != nil {
		return nil, false, fmt.Errorf("list the webhooks: %w", err)
	}
	ids := slices.Sorted(maps.Keys(found))
	if len(ids) > limit {
		ids, more = ids[:limit], true
	}
	for _, id := range ids {
		w := found[id]
		fares[id].join(w)
		webhooks = append(webhooks, w)
	}
	return webhooks, more, nil
}

// count is how many webhooks there are.
func (r *registry) count(ctx context.Context) (n int, err error) {
	lister, err := r.kv.ListKeysFiltered(ctx, webhookPrefix+"*")
	if err != nil {
		return 0, fmt.Errorf("count the webhooks: %w", err)
	}
	for range lister.Keys() {
		n++
	}
	return n, ctx.Err()
}

// readAll gives every webhook and every health record there is.
func (r *registry) readAll(ctx context.Context, take func(jetstream.KeyValueEntry)) error {
	return kvbucket.Each(ctx, r.kv, []string{webhookPrefix + "*", healthPrefix + "*"}, take)
}

// update applies change to a webhook as it is now and stores the result. It
// fails with change's error, [ErrNotFound], [ErrEtagMismatch] and
// [*invalid.Error]. Change may be called several times. A change that changes
// nothing stores nothing.
func (r *registry) update(ctx context.Context, id, etag string, change func(*Webhook) error) (*Webhook, error) {
	act := "update webhook " + id
	err := kvbucket.Change(ctx, act, func() error {
		current, err := r.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.Etag {
			return fmt.Errorf("webhook %s: %w", id, ErrEtagMismatch)
		}
		next := current.Clone()
		if err := change(next); err != nil {
			return err
		}
		next.ID, next.CreateTime = current.ID, current.CreateTime
		next.normalize()
		if err := next.validate(); err != nil {
			return err
		}
		same, err := sameContent(current.Webhook, next)
		if err != nil || same {
			return err
		}
		next.UpdateTime = kvbucket.Now()
		value, err := encode(r.box, next, current.revision+1, current.request)
		if err != nil {
			return err
		}
		if _, err := r.kv.Update(ctx, webhookPrefix+id, value, current.kvRevision); err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.get(ctx, id)
}

// remove deletes a webhook's settings and health.
func (r *registry) remove(ctx context.Context, id, etag string) error {
	act := "delete webhook " + id
	return kvbucket.Change(ctx, act, func() error {
		entry, err := r.kv.Get(ctx, webhookPrefix+id)
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			return fmt.Errorf("webhook %q: %w", id, ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		if etag != "" {
			// Without an etag even a record that cannot be read can be deleted.
			current, err := decode(r.box, id, entry.Value(), entry.Revision())
			if err != nil {
				return err
			}
			if current.Etag != etag {
				return fmt.Errorf("webhook %s: %w", id, ErrEtagMismatch)
			}
		}
		// Purge, unlike Delete, also removes the sealed secrets at once.
		err = r.kv.Purge(ctx, webhookPrefix+id, jetstream.LastRevision(entry.Revision()), jetstream.PurgeTTL(markerTTL))
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
}

// sameContent compares all that is stored of two webhooks, secrets included.
func sameContent(a, b *Webhook) (bool, error) {
	contentA, errA := content(a)
	contentB, errB := content(b)
	return bytes.Equal(contentA, contentB), errors.Join(errA, errB)
}

// content is all that is stored of a webhook, with its secrets open. It is there to be
// compared, and must go nowhere else.
func content(w *Webhook) ([]byte, error) {
	return json.Marshal(newRecord(w, func(_ string, value secret.String) secret.Sealed { return secret.Sealed(value.Reveal()) }))
}
