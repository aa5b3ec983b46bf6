package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/secret"
)

// claim says what a request id was used for.
type claim struct {
	ID string `json:"id"`
	// Digest is the sealed hash of the request's content. It is sealed because
	// the content holds secrets, which a plain hash would let anyone guess at.
	Digest secret.Sealed `json:"digest"`
}

// create stores a new webhook. An empty id is replaced by a generated one. With
// a request id, a repetition with the same content gives the webhook of the
// first call, and other content fails with [ErrRequestIDReused]. It fails with
// [ErrExists] if the id is taken, and with [*ValidationError].
func (r *registry) create(ctx context.Context, w *Webhook, requestID string) (*Webhook, error) {
	// What is made up here must not tell one request from its repetition.
	digest, err := contentDigest(&Webhook{
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
	request := ""
	if requestID != "" {
		hash := sha256.Sum256([]byte(requestID))
		request = hex.EncodeToString(hash[:16])
		original, err := r.claim(ctx, request, w, digest)
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
	value, err := encode(r.box, w, 1, request)
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
	if current, err := r.load(ctx, w.ID); err == nil && request != "" && current.request == request {
		return r.get(ctx, w.ID)
	}
	return nil, fmt.Errorf("webhook %s: %w", w.ID, ErrExists)
}

// claim ties a request id to the webhook that is about to be created. When it
// was tied already, the webhook that it led to is returned; if there is none,
// because the process died in between, w gets the claimed id and is to be
// created.
func (r *registry) claim(ctx context.Context, request string, w *Webhook, digest []byte) (*Webhook, error) {
	key, place := requestPrefix+request, []byte("webhook/"+requestPrefix+request)
	sealedDigest, err := r.box.Seal(digest, place)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(claim{ID: w.ID, Digest: sealedDigest})
	if err != nil {
		return nil, err
	}
	_, err = r.kv.Create(ctx, key, value, jetstream.KeyTTL(requestTTL))
	if err == nil {
		return nil, nil
	}
	if !kvbucket.IsConflict(err) {
		return nil, fmt.Errorf("claim the request id: %w", err)
	}
	earlier, at, err := r.claimed(ctx, key, place, digest)
	if err != nil {
		return nil, err
	}
	w.ID = earlier
	current, err := r.load(ctx, w.ID)
	switch {
	case err == nil && current.request == request:
		return r.get(ctx, w.ID)
	case err == nil:
		return nil, fmt.Errorf("webhook %s: %w", w.ID, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	history, err := r.kv.History(ctx, webhookPrefix+w.ID)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("look for the deletion of webhook %s: %w", w.ID, err)
	}
	if len(history) > 0 && history[len(history)-1].Created().After(at) {
		return nil, fmt.Errorf("webhook %s has been deleted since it was created: %w", w.ID, ErrRequestIDReused)
	}
	return nil, nil
}

// claimed reads the claim of a request id, which must be for the same content.
func (r *registry) claimed(ctx context.Context, key string, place, digest []byte) (id string, at time.Time, err error) {
	entry, err := r.kv.Get(ctx, key)
	if err != nil {
		return "", at, fmt.Errorf("read the claim of the request id: %w", err)
	}
	var earlier claim
	if err := json.Unmarshal(entry.Value(), &earlier); err != nil {
		return "", at, fmt.Errorf("read the claim of the request id: %w", err)
	}
	earlierDigest, err := r.box.Open(earlier.Digest, place)
	if err != nil {
		return "", at, fmt.Errorf("read the claim of the request id: %w", err)
	}
	if !bytes.Equal(earlierDigest, digest) {
		return "", at, ErrRequestIDReused
	}
	return earlier.ID, entry.Created(), nil
}

// newID gives at least 80 random bits.
func newID() string { return strings.ToLower(rand.Text()[:16]) }
