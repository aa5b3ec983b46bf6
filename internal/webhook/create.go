package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/requestid"
)

// create stores a new webhook. An empty id is replaced by a generated one. With
// a request id, a repetition with the same content gives the webhook of the
// first call, and other content fails with [requestid.ErrReused]. It fails with
// [ErrExists] if the id is taken, and with [*invalid.Error].
func (r *registry) create(ctx context.Context, w *Webhook, requestID string) (*Webhook, error) {
	// What is made up here must not tell one request from its repetition.
	asked, err := content(&Webhook{
		ID: w.ID, DisplayName: w.DisplayName, URL: w.URL, Types: w.Types, Accounts: w.Accounts,
		AccountLabels: w.AccountLabels, Folders: w.Folders, Payload: w.Payload, Ordered: w.Ordered,
		MaxConcurrency: w.MaxConcurrency, Headers: w.Headers, Secret: w.Secret,
	})
	if err != nil {
		return nil, err
	}
	w = w.Clone()
	if w.Secret.IsZero() {
		w.Secret = newSecret()
	}
	w.normalize()
	if err := w.validate(); err != nil {
		return nil, err
	}
	if w.ID == "" {
		w.ID = newID()
	}
	attempt, err := r.requests.Begin(ctx, "CreateWebhook", requestID, asked, w.ID)
	if err != nil {
		return nil, err
	}
	w.ID = attempt.Plan
	if attempt.Repeated {
		original, err := r.original(ctx, attempt)
		if original != nil || err != nil {
			return original, err
		}
	}
	there, err := r.count(ctx)
	if err != nil {
		return nil, err
	}
	if err := limit.Room("max-webhooks", "webhooks", there, r.most); err != nil {
		return nil, err
	}
	w.CreateTime = kvbucket.Now()
	w.UpdateTime = w.CreateTime
	value, err := encode(r.box, w, 1, attempt.Key)
	if err != nil {
		return nil, err
	}
	_, err = r.kv.Create(ctx, webhookPrefix+w.ID, value)
	switch {
	case err == nil:
		return r.get(ctx, w.ID)
	case !kvbucket.IsConflict(err):
		return nil, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	// The same request at the same time gives the one webhook.
	if current, err := r.load(ctx, w.ID); err == nil && attempt.Key != "" && current.request == attempt.Key {
		return r.get(ctx, w.ID)
	}
	return nil, fmt.Errorf("webhook %s: %w", w.ID, ErrExists)
}

// original is the webhook that an earlier attempt has made; nil if it died before
// that.
func (r *registry) original(ctx context.Context, attempt *requestid.Attempt) (*Webhook, error) {
	id := attempt.Plan
	current, err := r.load(ctx, id)
	switch {
	case err == nil && current.request == attempt.Key:
		return r.get(ctx, id)
	case err == nil:
		return nil, fmt.Errorf("webhook %s: %w", id, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	deleted, err := attempt.Deleted(ctx, r.kv, webhookPrefix+id)
	if deleted {
		err = fmt.Errorf("webhook %s has been deleted since it was created: %w", id, requestid.ErrReused)
	}
	return nil, err
}

// newID gives at least 80 random bits.
func newID() string { return strings.ToLower(rand.Text()[:16]) }
