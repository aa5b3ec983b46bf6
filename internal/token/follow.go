package token

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

const (
	// feedBackoff is the pause before a watch that failed is set up again.
	feedBackoff = 250 * time.Millisecond
	// pulse is how often the bucket is asked how far it has come. A watch that does
	// not bring within one more pulse what is there is set up anew, so that
	// revocations are in force within a second even when NATS moves the bucket to
	// another server, which a watch by itself takes 15 to 20 s to notice.
	pulse = 400 * time.Millisecond
	// pulseTimeout bounds one such question.
	pulseTimeout = 2 * time.Second
	// loadTimeout bounds the reading of the whole bucket.
	loadTimeout = 10 * time.Second
	// staleAfter is how long tokens are taken after the bucket was last heard of.
	staleAfter = 30 * time.Second
)

// feed keeps the cache up to date until ctx ends. It calls loaded when the cache holds
// all that was in the bucket.
func (s *Store) feed(ctx context.Context, conn *nats.Conn, loaded func()) {
	kvbucket.Follow(ctx, conn, feedBackoff, func(reconnected <-chan nats.Status) bool {
		return s.follow(ctx, reconnected, loaded)
	})
}

// follow reads the bucket and then its changes, until the watch or ctx ends.
// Again says that there is a reason to read it anew at once.
func (s *Store) follow(ctx context.Context, reconnected <-chan nats.Status, loaded func()) (again bool) {
	// What there is now has been shown by the end of what the watch shows first,
	// although the last of it may have been removed since.
	head, err := s.head(ctx)
	if err != nil {
		s.warn(ctx, "ask about the tokens", err)
		return false
	}
	if head < s.cache.reached() {
		s.config.Logger.Warn("the tokens were restored to an earlier state: all are read anew")
		s.cache.distrust()
	}
	watcher, err := s.kv.WatchFiltered(ctx, []string{tokenPrefix + "*", usePrefix + "*"})
	if err != nil {
		s.warn(ctx, "watch the tokens", err)
		return false
	}
	defer kvbucket.Stop(watcher)
	s.loaded.Store(false)
	s.cache.advance(0)
	shown := make(map[string]bool)
	slow := time.NewTimer(loadTimeout)
	defer slow.Stop()
	changed := s.config.Box.Changed()
	var otherKeys <-chan struct{} // nil as long as all has been readable
	for {
		select {
		case <-ctx.Done():
			return false
		case <-otherKeys:
			return true
		case <-reconnected:
			return true
		case <-s.again:
			return true
		case <-slow.C:
			if shown != nil { // not all of it is here
				return true
			}
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return false
			case update == nil: // the end of what was there
				s.cache.advance(head)
				s.cache.keepOnly(shown, s.cache.reached())
				s.confirm()
				s.loaded.Store(true)
				shown = nil
				loaded()
			default:
				if !s.take(update, shown) {
					otherKeys = changed
				}
				s.cache.advance(update.Revision())
			}
		}
	}
}

func (s *Store) warn(ctx context.Context, act string, err error) {
	if ctx.Err() == nil {
		s.config.Logger.Warn(act, "error", err)
	}
}

// take brings one update into the cache, and notes which tokens were shown. It
// reports whether the update could be read.
func (s *Store) take(update jetstream.KeyValueEntry, shown map[string]bool) bool {
	gone := update.Operation() != jetstream.KeyValuePut
	if id, ok := strings.CutPrefix(update.Key(), usePrefix); ok {
		if at, err := strconv.ParseInt(string(update.Value()), 10, 64); err == nil && !gone {
			s.cache.used(id, at)
		}
		return true
	}
	id := strings.TrimPrefix(update.Key(), tokenPrefix)
	if gone {
		s.cache.remove(id, update.Revision())
		s.cache.forget(id, update.Revision())
		return true
	}
	there, err := decode(s.config.Box, id, update.Value(), update.Revision())
	if err != nil {
		// Whoever shows it is nobody: what was not written by us gives no rights.
		s.config.Logger.Error("a token is left out", "token", id, "error", err)
		// Below its revision, so that it counts once it can be read with other keys.
		s.cache.remove(id, update.Revision()-1)
		return false
	}
	if shown != nil {
		shown[id] = true
	}
	s.cache.put(there)
	return true
}

// listen asks how far the bucket has come until ctx ends.
func (s *Store) listen(ctx context.Context) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	missed := uint64(0) // what the watch had not brought the last time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !s.loaded.Load() {
			missed = 0
			continue
		}
		reached := s.cache.reached()
		if missed > reached {
			s.begin()
		}
		missed = 0
		head, err := s.head(ctx)
		switch {
		case err != nil || !s.loaded.Load():
		case head < reached:
			s.begin()
		case head <= s.cache.reached():
			s.confirm()
		default:
			missed = head
		}
	}
}

// begin has the bucket read anew.
func (s *Store) begin() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// head is the bucket's last revision.
func (s *Store) head(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	info, err := s.bucket.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// confirm notes that the cache is what the bucket was a moment ago.
func (s *Store) confirm() { s.confirmed.Store(int64(time.Since(s.opened))) }

// stale reports whether for too long nobody has known what the bucket holds.
func (s *Store) stale() bool {
	return time.Since(s.opened)-time.Duration(s.confirmed.Load()) > staleAfter
}
