package token

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/kvbucket"
)

const (
	// useInterval is how often the use of a token is written down at most.
	useInterval = time.Minute
	// keptEnded is how long a token that has ended is still listed, and sweepInterval
	// how often those are looked for that no longer are.
	keptEnded     = 30 * 24 * time.Hour
	sweepInterval = time.Hour
	// flushTimeout bounds the last writing down, when the process ends.
	flushTimeout = 5 * time.Second
)

// tend writes down when tokens were used and forgets those that ended long ago,
// until ctx ends.
func (s *Store) tend(ctx context.Context) {
	uses, sweeps := time.NewTicker(useInterval), time.NewTicker(sweepInterval)
	defer uses.Stop()
	defer sweeps.Stop()
	s.sweep(ctx)
	for {
		select {
		case <-uses.C:
			s.flush(ctx)
		case <-sweeps.C:
			s.sweep(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			defer cancel()
			s.flush(last)
			return
		}
	}
}

// flush writes down when tokens were used since it was written last.
func (s *Store) flush(ctx context.Context) {
	for id, at := range s.cache.unwritten() {
		if _, err := s.kv.Put(ctx, usePrefix+id, []byte(strconv.FormatInt(at, 10))); err != nil {
			s.warn(ctx, "write down when tokens were used", err)
			return // the others are as lost, and come again
		}
		s.cache.used(id, at)
	}
}

// unwritten gives the last uses that the bucket does not have.
func (c *cache) unwritten() map[string]int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found := make(map[string]int64)
	for id, u := range c.uses {
		if at := u.seen.Load(); at > u.stored.Load() && c.entries[id] != nil && c.entries[id].stored != nil {
			found[id] = at
		}
	}
	return found
}

// sweep forgets tokens that ended long ago, the longest first, and of those that
// ended more only as many as there may be in use. Each node does so: who is late
// finds nothing.
func (s *Store) sweep(ctx context.Context) {
	at := time.Now()
	type end struct {
		id       string
		revision uint64
		time     time.Time
	}
	var ends []end
	for _, t := range s.cache.all() {
		if when, ok := t.ended(at); ok {
			if e, _ := s.cache.get(t.ID); e != nil {
				ends = append(ends, end{t.ID, e.revision, when})
			}
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return b.time.Compare(a.time) })
	for i, e := range ends {
		if i < s.config.Limit && at.Sub(e.time) < keptEnded {
			continue
		}
		err := s.kv.Purge(ctx, tokenPrefix+e.id, jetstream.LastRevision(e.revision), jetstream.PurgeTTL(markerTTL))
		if err != nil && !kvbucket.IsConflict(err) {
			s.warn(ctx, "forget tokens that ended long ago", err)
			return
		}
	}
	for _, id := range s.cache.orphans() {
		s.forgetUse(ctx, id)
	}
}

// orphans are the uses of tokens that are gone.
func (c *cache) orphans() (ids []string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for id, u := range c.uses {
		if e := c.entries[id]; (e == nil || e.stored == nil) && u.stored.Load() > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// forgetUse removes what is known of a token's use. A failure leaves a few bytes
// until next time.
func (s *Store) forgetUse(ctx context.Context, id string) {
	err := s.kv.Purge(ctx, usePrefix+id, jetstream.PurgeTTL(markerTTL))
	if err != nil && !errors.Is(err, context.Canceled) {
		s.config.Logger.Warn("forget when a token was used", "token", id, "error", err)
		return
	}
	s.cache.forgetUse(id)
}

func (c *cache) forgetUse(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e == nil || e.stored == nil {
		delete(c.uses, id)
	}
}
