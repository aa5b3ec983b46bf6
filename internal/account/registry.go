package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

const (
	bucket = "postern_accounts"

	accountPrefix = "account."
	statusPrefix  = "status."
	refreshPrefix = "refresh."

	// markerTTL is for how long a deletion is remembered: longer than request
	// ids, so that a late repetition of the request that created an account
	// does not bring it back.
	markerTTL = requestid.Kept + time.Hour
)

func accountKey(id string) string { return accountPrefix + id }
func statusKey(id string) string  { return statusPrefix + id }

// Config says how to open a [Registry].
type Config struct {
	// Box seals the secrets.
	Box *secret.Box
	// Requests remembers request ids; it is needed where there are any.
	Requests *requestid.Store
	// Replicas is the number of copies of each record in a NATS cluster; 0
	// means 1.
	Replicas int
	// Most is how many accounts there may be; 0 means any number. Accounts that
	// several nodes create at the same moment may go beyond it.
	Most int
	// Logger is told of records that cannot be read; nil means nobody is.
	Logger *slog.Logger
}

// Registry keeps the accounts. It is safe for concurrent use.
//
// Reads come from memory, which a watch on the bucket keeps up to date. What
// this node has written it sees at once. What another node has written it sees
// when NATS delivers it, normally within milliseconds; while NATS cannot be
// reached, reads give the last known state and writes fail. An account that is
// not in memory is looked for in the bucket before it is called missing. All
// writes compare with the bucket, never with memory. A change of the bucket's
// leader in a cluster can hold deliveries up for about 20 seconds.
type Registry struct {
	kv       jetstream.KeyValue
	box      *secret.Box
	requests *requestid.Store
	logger   *slog.Logger
	cache    *cache
	most     int

	stop context.CancelFunc
	done chan struct{}
}

// Open opens the registry, and makes its bucket at the first start. Close ends it.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Registry, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      bucket,
		Description: "Postern: accounts, with sealed credentials, and their status",
		Storage:     jetstream.FileStorage,
		Replicas:    max(config.Replicas, 1),
		// No history: an old password is not kept once it was replaced.
		History:        1,
		LimitMarkerTTL: markerTTL,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	logger := config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		kv: kv, box: config.Box, requests: config.Requests, logger: logger, cache: newCache(), most: config.Most, done: make(chan struct{}),
	}
	feedCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	loaded := make(chan struct{})
	go r.feed(feedCtx, js.Conn(), sync.OnceFunc(func() { close(loaded) }))
	select {
	case <-loaded:
	case <-ctx.Done():
		r.Close()
		return nil, fmt.Errorf("load the accounts: %w", ctx.Err())
	}
	r.removeOrphans(ctx)
	return r, nil
}

// Close ends the registry's watch on the bucket and all that Watch has given
// out.
func (r *Registry) Close() {
	r.stop()
	<-r.done
}

// removeOrphans removes what a former owner has written after its account was
// deleted. It is tidying: a failure leaves a few hundred bytes until next time.
func (r *Registry) removeOrphans(ctx context.Context) {
	for id, revision := range r.cache.orphans() {
		if err := r.kv.Purge(ctx, statusKey(id), jetstream.LastRevision(revision), jetstream.PurgeTTL(markerTTL)); err != nil {
			r.logger.Warn("remove the status of a deleted account", "account", id, "error", err)
		}
	}
}

// Get gives an account with its status. It fails with [ErrNotFound].
func (r *Registry) Get(ctx context.Context, id string) (*Account, error) {
	if !ValidID(id) {
		return nil, &NotFoundError{ID: id}
	}
	if _, ok := r.cache.get(id); !ok {
		// Perhaps another node has just created it.
		if _, err := r.load(ctx, id); err != nil {
			return nil, err
		}
	}
	return r.cache.read(id)
}

// load reads an account from the bucket and brings the cache up to date.
func (r *Registry) load(ctx context.Context, id string) (entry, error) {
	got, err := r.kv.Get(ctx, accountKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, &NotFoundError{ID: id}
	}
	if err != nil {
		return entry{}, fmt.Errorf("read account %s: %w", id, err)
	}
	decoded, err := decode(r.box, id, got.Value())
	if err != nil {
		return entry{}, err
	}
	e := entry{stored: decoded, kvRevision: got.Revision()}
	r.cache.put(id, e)
	return e, nil
}

// storeTimeout bounds a change of an account: a NATS server that cannot be
// reached, or cannot store, does not answer, and who asked has to be told that it
// is not their own deadline which was too short.
const storeTimeout = 10 * time.Second

// Update applies change to the present settings and stores the result. With a
// non-empty etag the settings must still be those that the etag was given out
// for, else it fails with [ErrEtagMismatch]. Change may be called several
// times, each time with fresh settings; an error from it ends the update. It
// fails with [ErrNotFound] and [*invalid.Error]. A change that changes
// nothing stores nothing.
func (r *Registry) Update(ctx context.Context, id, etag string, change func(*Account) error) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	act := "update account " + id
	err := kvbucket.Change(ctx, act, func() error {
		current, err := r.load(ctx, id)
		if err != nil {
			return err
		}
		if etag != "" && etag != current.account.Etag {
			return fmt.Errorf("account %s: %w", id, ErrEtagMismatch)
		}
		next := current.account.Clone()
		if err := change(next); err != nil {
			return err
		}
		next.keepFixed(current.account)
		next.Normalize()
		if err := next.validate(current.account); err != nil {
			return err
		}
		if next.Backfill != current.account.Backfill {
			return &invalid.Error{Resource: "account", Fields: invalid.Fields{{
				Name: "backfill", Description: "is settled when the account is created and cannot be changed",
			}}}
		}
		same, err := sameSettings(current.account, next)
		if err != nil || same {
			return err
		}
		if !next.IMAP.sameConnection(current.account.IMAP) || next.Reconnects != current.account.Reconnects {
			next.ConnectionRevision = newConnectionRevision()
		}
		next.UpdateTime = kvbucket.Now()
		if err := r.replace(ctx, current, next, current.revision+1); err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.cache.read(id)
}

// keepFixed restores what a change of settings has no say in.
func (a *Account) keepFixed(before *Account) {
	a.ID, a.CreateTime, a.UpdateTime, a.IdentityKey = before.ID, before.CreateTime, before.UpdateTime, before.IdentityKey
	a.Etag, a.ConnectionRevision, a.Status = before.Etag, before.ConnectionRevision, before.Status
}

// sameSettings compares settings, secrets included.
func sameSettings(a, b *Account) (bool, error) {
	contentA, errA := content(a)
	contentB, errB := content(b)
	return bytes.Equal(contentA, contentB), errors.Join(errA, errB)
}

// replace writes an account over the record that was read, and fails with a
// conflict if that is no longer the present one.
func (r *Registry) replace(ctx context.Context, current entry, next *Account, revision uint64) error {
	value, err := encode(r.box, next, revision, current.request)
	if err != nil {
		return err
	}
	kvRevision, err := r.kv.Update(ctx, accountKey(next.ID), value, current.kvRevision)
	if err != nil {
		return err
	}
	return r.remember(next.ID, value, kvRevision)
}

// remember puts what was just written into the cache.
func (r *Registry) remember(id string, value []byte, kvRevision uint64) error {
	decoded, err := decode(r.box, id, value)
	if err != nil {
		return err
	}
	r.cache.put(id, entry{stored: decoded, kvRevision: kvRevision})
	return nil
}

// Delete removes an account with its credentials and status. With a non-empty
// etag it fails with [ErrEtagMismatch] if the settings have changed. It fails
// with [ErrNotFound] if there is no such account.
func (r *Registry) Delete(ctx context.Context, id, etag string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	act := "delete account " + id
	return kvbucket.Change(ctx, act, func() error {
		got, err := r.kv.Get(ctx, accountKey(id))
		if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
			return &NotFoundError{ID: id}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		if etag != "" {
			// Without an etag even a record that cannot be read can be deleted.
			current, err := decode(r.box, id, got.Value())
			if err != nil {
				return err
			}
			if current.account.Etag != etag {
				return fmt.Errorf("account %s: %w", id, ErrEtagMismatch)
			}
		}
		// Purge, unlike Delete, also removes the sealed credentials at once.
		err = r.kv.Purge(ctx, accountKey(id), jetstream.LastRevision(got.Revision()), jetstream.PurgeTTL(markerTTL))
		if err != nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		r.cache.remove(id, got.Revision())
		if err := r.kv.Purge(ctx, statusKey(id), jetstream.PurgeTTL(markerTTL)); err != nil {
			// The account is gone; its status is removed at the next start.
			r.logger.Warn("remove the status of a deleted account", "account", id, "error", err)
		}
		return nil
	})
}
