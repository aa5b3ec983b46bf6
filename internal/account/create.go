package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
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
	// the content holds a password, which a plain hash would let anyone guess at.
	Digest secret.Sealed `json:"digest"`
}

// Create registers an account. An empty id is replaced by a generated one.
//
// With a non-empty request id a repetition with the same content within 24
// hours gives the account of the first call, and other content fails with
// [ErrRequestIDReused]. It fails with [ErrExists] if the id is taken, with
// [*ValidationError], and with [*limit.FullError].
func (r *Registry) Create(ctx context.Context, a *Account, requestID string) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	a = a.Clone()
	a.Normalize()
	if err := a.Validate(); err != nil {
		return nil, err
	}
	request := ""
	if requestID != "" {
		hash := sha256.Sum256([]byte(requestID))
		request = hex.EncodeToString(hash[:16])
	}
	digest, err := contentDigest(a)
	if err != nil {
		return nil, err
	}
	if a.ID == "" {
		a.ID = newID()
	}
	if request != "" {
		original, err := r.claim(ctx, request, a, digest)
		if original != nil || err != nil {
			return original, err
		}
	}
	return r.create(ctx, a, request)
}

// claim ties a request id to the account that is about to be created. The
// claim is written before the account, so of two different requests with the
// same id one fails without a trace. When the claim was there already, the
// account that it led to is returned; if there is none, because the process
// died in between, a gets the claimed id and is to be created.
func (r *Registry) claim(ctx context.Context, request string, a *Account, digest []byte) (*Account, error) {
	key, place := requestPrefix+request, []byte(requestPrefix+request)
	sealedDigest, err := r.box.Seal(digest, place)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(claim{ID: a.ID, Digest: sealedDigest})
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
	got, err := r.kv.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	var earlier claim
	if err := json.Unmarshal(got.Value(), &earlier); err != nil {
		return nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	earlierDigest, err := r.box.Open(earlier.Digest, place)
	if err != nil {
		return nil, fmt.Errorf("read the claim of the request id: %w", err)
	}
	if !bytes.Equal(earlierDigest, digest) {
		return nil, ErrRequestIDReused
	}
	a.ID = earlier.ID
	current, err := r.load(ctx, a.ID)
	switch {
	case err == nil && current.request == request:
		return r.cache.read(a.ID)
	case err == nil:
		return nil, fmt.Errorf("account %s: %w", a.ID, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	deleted, err := r.deletedSince(ctx, a.ID, got.Created())
	if err != nil {
		return nil, err
	}
	if deleted {
		return nil, fmt.Errorf("account %s has been deleted since it was created: %w", a.ID, ErrRequestIDReused)
	}
	return nil, nil
}

// deletedSince reports whether an account was deleted after a point in time, by
// the marker that a deletion leaves.
func (r *Registry) deletedSince(ctx context.Context, id string, since time.Time) (bool, error) {
	history, err := r.kv.History(ctx, accountKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the deletion of account %s: %w", id, err)
	}
	last := history[len(history)-1]
	return last.Operation() != jetstream.KeyValuePut && last.Created().After(since), nil
}

// create writes a new account.
func (r *Registry) create(ctx context.Context, a *Account, request string) (*Account, error) {
	if err := limit.Room("max-accounts", "accounts", r.cache.count(), r.most); err != nil {
		return nil, err
	}
	a.IdentityKey = secret.New(string(randomBytes(32)))
	a.CreateTime = kvbucket.Now()
	a.UpdateTime = a.CreateTime
	a.ConnectionRevision = newConnectionRevision()
	value, err := encode(r.box, a, 1, request)
	if err != nil {
		return nil, err
	}
	kvRevision, err := r.kv.Create(ctx, accountKey(a.ID), value)
	if err == nil {
		if err := r.remember(a.ID, value, kvRevision); err != nil {
			return nil, err
		}
		return r.cache.read(a.ID)
	}
	if !kvbucket.IsConflict(err) {
		return nil, fmt.Errorf("create account %s: %w", a.ID, err)
	}
	// The same request at the same time, or the repetition of one whose answer
	// was lost, gives the one account.
	if request != "" {
		if current, err := r.load(ctx, a.ID); err == nil && current.request == request {
			return r.cache.read(a.ID)
		}
	}
	return nil, fmt.Errorf("account %s: %w", a.ID, ErrExists)
}

// contentDigest hashes the settings of an account, secrets included.
func contentDigest(a *Account) ([]byte, error) {
	content, err := json.Marshal(revealed(a))
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(content)
	return hash[:], nil
}

// revealed is the record of an account with its secrets open. It must not leave
// the function that asks for it.
func revealed(a *Account) *record {
	return newRecord(a, func(_ string, value secret.String) secret.Sealed {
		if value.IsZero() {
			return nil
		}
		return secret.Sealed(value.Reveal())
	})
}

// newID gives 80 random bits as 16 characters.
func newID() string {
	return strings.ToLower(base32.HexEncoding.EncodeToString(randomBytes(10)))
}

func newConnectionRevision() string { return hex.EncodeToString(randomBytes(8)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, see its documentation
	return b
}
