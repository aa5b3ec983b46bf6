package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// known are the webhooks that this node has heard of. It answers nobody, and only
// tells what is not worth to be looked for.
type known struct {
	mu   sync.Mutex
	byID map[string]*Webhook
}

// put notes a webhook as it is, or with nil that it is gone.
func (k *known) put(id string, hook *Webhook) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if hook == nil {
		delete(k.byID, id)
		return
	}
	if k.byID == nil {
		k.byID = make(map[string]*Webhook)
	}
	k.byID[id] = hook
}

func (k *known) get(id string) *Webhook {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byID[id]
}

// nobody is in place of an id that no webhook has.
const nobody = "="

// GetSeen is Get for somebody for whom only those webhooks exist that sees tells. Any
// other is to them as if it were not there: it fails with [ErrNotFound], on a node that
// sends events after the same look into the bucket, so that the time which it takes
// does not tell the two apart either.
func (w *Webhooks) GetSeen(ctx context.Context, id string, sees func(*Webhook) bool) (*Webhook, error) {
	if hook := w.known.get(id); hook != nil && !sees(hook) {
		if _, err := w.registry.load(ctx, nobody); !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		return nil, fmt.Errorf("webhook %q: %w", id, ErrNotFound)
	}
	hook, err := w.registry.get(ctx, id)
	if err == nil && sees(hook) {
		return hook, nil
	}
	// Whose webhook it is that cannot be read is not known.
	if err == nil || errors.Is(err, ErrUnreadable) {
		err = fmt.Errorf("webhook %q: %w", id, ErrNotFound)
	}
	return nil, err
}
