package account

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

// Change is what Watch tells about one account.
type Change struct {
	ID string
	// Deleted says that the account is gone. Account is nil then.
	Deleted bool
	// Unreadable says that the account is there, but its record does not open with
	// the keys that there are, or is damaged. Account is nil then; it comes again
	// when it can be read.
	Unreadable bool
	Account    *Account
}

// Watch yields every account as it is, and then each one whose settings have
// changed, was created or deleted, until ctx ends, the registry is closed, or
// the loop is left. It outlives reconnections to NATS.
//
// A slow loop holds nothing up: changes of one account that it did not keep up
// with come as one, the latest. An id that was deleted and registered anew
// meanwhile comes as deleted first. Changes of status and refreshed tokens are
// not reported.
func (r *Registry) Watch(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		sub := r.cache.subscribe()
		defer r.cache.unsubscribe(sub)
		// When each reported account was created, to tell one life of an id
		// from the next.
		reported := make(map[string]time.Time)
		for {
			for _, id := range r.cache.takeDirty(sub) {
				if ctx.Err() != nil {
					return
				}
				current, err := r.cache.read(id)
				created, known := reported[id]
				if known && err != nil && r.cache.isUnreadable(id) {
					if !yield(Change{ID: id, Unreadable: true}) {
						return
					}
					continue
				}
				if known && (err != nil || !current.CreateTime.Equal(created)) {
					delete(reported, id)
					if !yield(Change{ID: id, Deleted: true}) {
						return
					}
				}
				if err != nil {
					continue
				}
				reported[id] = current.CreateTime
				if !yield(Change{ID: id, Account: current}) {
					return
				}
			}
			select {
			case <-sub.wake:
			case <-ctx.Done():
				return
			case <-r.done:
				return
			}
		}
	}
}

// subscription collects the ids that a watcher has yet to look at.
type subscription struct {
	dirty map[string]struct{}
	wake  chan struct{}
}

func (c *cache) subscribe() *subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := &subscription{dirty: make(map[string]struct{}, len(c.ids)), wake: make(chan struct{}, 1)}
	for _, id := range c.ids {
		sub.dirty[id] = struct{}{}
	}
	c.watchers[sub] = struct{}{}
	return sub
}

func (c *cache) unsubscribe(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watchers, sub)
}

// takeDirty empties a subscription and gives what was in it, sorted.
func (c *cache) takeDirty(sub *subscription) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, 0, len(sub.dirty))
	for id := range sub.dirty {
		ids = append(ids, id)
	}
	clear(sub.dirty)
	slices.Sort(ids)
	return ids
}

// wake tells the watchers of a change. The caller holds the lock.
func (c *cache) wake(id string) {
	for sub := range c.watchers {
		sub.dirty[id] = struct{}{}
		select {
		case sub.wake <- struct{}{}:
		default:
		}
	}
}

// feedBackoff is the pause before a watch that failed is set up again.
const feedBackoff = time.Second

// feed keeps the cache up to date until ctx ends. It calls loaded when the cache holds
// all that was in the bucket.
func (r *Registry) feed(ctx context.Context, conn *nats.Conn, loaded func()) {
	defer close(r.done)
	kvbucket.Follow(ctx, conn, feedBackoff, func(reconnected <-chan nats.Status) bool {
		return r.follow(ctx, reconnected, loaded)
	})
}

// follow reads the bucket and then its changes, until the watch or ctx ends.
// Again says that the connection was lost and is back, or that there are other keys,
// with which what could not be read may open.
func (r *Registry) follow(ctx context.Context, reconnected <-chan nats.Status, loaded func()) (again bool) {
	watcher, err := r.kv.WatchFiltered(ctx, []string{accountPrefix + "*", statusPrefix + "*"})
	if err != nil {
		if ctx.Err() == nil {
			r.logger.Warn("watch the accounts", "error", err)
		}
		return false
	}
	defer kvbucket.Stop(watcher)
	r.cache.advance(0)
	seen, last := make(map[string]bool), uint64(0)
	changed := r.box.Changed()
	var otherKeys <-chan struct{} // nil as long as all has been readable
	for {
		select {
		case <-ctx.Done():
			return false
		case <-otherKeys:
			return true
		case <-reconnected:
			return true
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return false
			case update == nil: // the end of what was there
				r.cache.keepOnly(seen, last)
				seen = nil
				loaded()
			default:
				if seen != nil && update.Operation() == jetstream.KeyValuePut {
					seen[update.Key()] = true
				}
				last = max(last, update.Revision())
				if !r.take(update) {
					otherKeys = changed
				}
				r.cache.advance(update.Revision())
			}
		}
	}
}

// take brings one update into the cache, and reports whether it could be read.
func (r *Registry) take(update jetstream.KeyValueEntry) bool {
	gone := update.Operation() != jetstream.KeyValuePut
	if id, ok := strings.CutPrefix(update.Key(), statusPrefix); ok {
		var record *statusRecord
		if !gone && json.Unmarshal(update.Value(), &record) != nil {
			r.logger.Warn("a stored status cannot be read", "account", id)
			return true // by no key
		}
		r.cache.putStatus(id, update.Revision(), record)
		return true
	}
	id := strings.TrimPrefix(update.Key(), accountPrefix)
	switch {
	case gone:
		r.cache.forget(id, update.Revision())
	case r.cache.seen(id, update.Revision()):
	default:
		decoded, err := decode(r.box, id, update.Value())
		if err != nil {
			r.logger.Error("an account is left out", "account", id, "error", err)
			r.cache.lose(id, update.Revision())
			return false
		}
		r.cache.put(id, entry{stored: decoded, kvRevision: update.Revision()})
	}
	return true
}
