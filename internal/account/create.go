package account

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

// Create registers an account. An empty id is replaced by a generated one.
//
// With a non-empty request id a repetition with the same content within 24
// hours gives the account of the first call. It fails with [requestid.ErrReused],
// with [ErrExists] if the id is taken, with [*invalid.Error], and with
// [*limit.FullError].
func (r *Registry) Create(ctx context.Context, a *Account, requestID string) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	a = a.Clone()
	a.Normalize()
	if err := a.Validate(); err != nil {
		return nil, err
	}
	asked, err := content(a)
	if err != nil {
		return nil, err
	}
	if a.ID == "" {
		a.ID = newID()
	}
	attempt, err := r.requests.Begin(ctx, "CreateAccount", requestID, asked, a.ID)
	if err != nil {
		return nil, err
	}
	a.ID = attempt.Plan
	if attempt.Repeated {
		original, err := r.original(ctx, attempt)
		if original != nil || err != nil {
			return original, err
		}
	}
	return r.create(ctx, a, attempt.Key)
}

// original is the account that an earlier attempt has made; nil if it died before
// that.
func (r *Registry) original(ctx context.Context, attempt *requestid.Attempt) (*Account, error) {
	id := attempt.Plan
	current, err := r.load(ctx, id)
	switch {
	case err == nil && current.request == attempt.Key:
		return r.cache.read(id)
	case err == nil:
		return nil, fmt.Errorf("account %s: %w", id, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	deleted, err := attempt.Deleted(ctx, r.kv, accountKey(id))
	if deleted {
		err = fmt.Errorf("account %s has been deleted since it was created: %w", id, requestid.ErrReused)
	}
	return nil, err
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

// content is all that is settled of an account, with its secrets open. It is there to
// be compared, and must go nowhere else.
func content(a *Account) ([]byte, error) {
	return json.Marshal(newRecord(a, func(_ string, value secret.String) secret.Sealed {
		if value.IsZero() {
			return nil
		}
		return secret.Sealed(value.Reveal())
	}))
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
