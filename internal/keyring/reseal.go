package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

const (
	// pace is the least time between two records that are sealed anew, which
	// leaves the store to those who wait for it.
	pace = 5 * time.Millisecond
	// reviewEvery is how often all records are looked at although no key has
	// changed, and reviewSoon for how long after a change what was sealed with the
	// key before may still be on its way into the store.
	reviewEvery = 10 * time.Minute
	reviewSoon  = 15 * time.Second
)

// Own moves on to new keys and seals anew what old ones have sealed, until ctx ends.
// One node at a time does it, though nothing breaks if two do. It can be cut off at
// any point: whatever is left to do shows in the records.
func (r *Ring) Own(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var due time.Time
	soon := true
	for {
		moved, err := r.advance(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !kvbucket.IsConflict(err):
			r.logger.Warn("sealing keys", "error", err)
		case moved:
			r.logger.Info("seal with a new key", "key", r.box.Uses())
			soon, due = true, time.Time{}
		}
		if time.Now().After(due) {
			// Before the records: what nodes have sealed by then is among them.
			alike := r.alike(ctx)
			switch complete := r.reseal(ctx); {
			case !alike || !complete:
				due = time.Now().Add(beat)
			case soon:
				soon, due = false, time.Now().Add(reviewSoon)
			default:
				due = time.Now().Add(reviewEvery)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tally counts what became of records.
type tally struct{ sealed, busy, failed int }

// reseal seals anew all records that another key has sealed than the one in use. It
// reports whether all have been tried.
func (r *Ring) reseal(ctx context.Context) (complete bool) {
	key := r.box.Uses()
	var sum tally
	complete = true
	for _, kind := range r.kinds {
		if kind.Reseal == nil {
			continue
		}
		if err := r.resealKind(ctx, kind, key, &sum); err != nil {
			complete = false
			if ctx.Err() == nil {
				r.logger.Warn("seal records anew", "kind", kind.Name, "error", err)
			}
		}
	}
	if sum.sealed > 0 || sum.failed > 0 {
		r.logger.Info("sealed records anew", "key", key, "records", sum.sealed, "failed", sum.failed)
	}
	return complete && sum.busy == 0
}

func (r *Ring) resealKind(ctx context.Context, kind Kind, key secret.KeyID, sum *tally) error {
	kv, err := kind.open(ctx, r.js)
	if kv == nil || err != nil {
		return err
	}
	// The names first: the records themselves may be many, and sealing takes longer
	// than reading.
	var stale []string
	err = each(ctx, kv, kind.Prefix, func(entry jetstream.KeyValueEntry) {
		if kind.stale(entry.Value(), key) {
			stale = append(stale, entry.Key())
		}
	})
	if err != nil {
		return err
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for _, name := range stale {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		err := r.resealOne(ctx, kind, kv, name, key)
		switch {
		case err == nil:
			sum.sealed++
		case kvbucket.IsConflict(err): // its owner was faster, and may have used either key
			sum.busy++
		case errors.Is(err, errRecord):
			sum.failed++
			r.logger.Warn("a record cannot be sealed anew and needs its old key", "record", name, "kind", kind.Name, "error", err)
		default:
			return err
		}
	}
	return nil
}

// stale reports whether another key than the given one has sealed something in a
// record. One that cannot be read is for its owner to complain of.
func (k Kind) stale(value []byte, key secret.KeyID) bool {
	ids, err := k.Keys(value)
	return err == nil && slices.ContainsFunc(ids, func(id secret.KeyID) bool { return id != key })
}

// errRecord says that a record, not the store, is what is wrong.
var errRecord = errors.New("it does not open")

func (r *Ring) resealOne(ctx context.Context, kind Kind, kv jetstream.KeyValue, name string, key secret.KeyID) error {
	entry, err := kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if !kind.stale(entry.Value(), key) {
		return nil
	}
	value, err := kind.Reseal(r.box, strings.TrimPrefix(name, kind.Prefix), entry.Value())
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	_, err = kv.Update(ctx, name, value, entry.Revision())
	return err
}
