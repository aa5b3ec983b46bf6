package token

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// entry is a token in memory. It is never changed, only replaced, but for its use.
type entry struct {
	*stored // nil for one that was deleted
	// revision is that of the bucket's key.
	revision uint64
	// ending tells the calls that were made with the token when it can no longer be
	// used, or may do something else.
	ending *ending
}

// usage is when a token was last used, in seconds since 1970.
type usage struct {
	seen   atomic.Int64 // by this node
	stored atomic.Int64 // by any, as the bucket has it
}

// cache is the bucket in memory. What it holds of a key only ever moves to a
// higher revision, so the writes of this node and the watch may come in any order.
type cache struct {
	mu      sync.RWMutex
	entries map[string]*entry
	uses    map[string]*usage
	// delivered is the highest revision that the watch has brought.
	delivered uint64
}

func newCache() *cache {
	return &cache{entries: make(map[string]*entry), uses: make(map[string]*usage)}
}

// get gives a token that is there, or nil, and its use.
func (c *cache) get(id string) (*entry, *usage) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.entries[id]
	if e == nil || e.stored == nil {
		return nil, nil
	}
	return e, c.uses[id]
}

// put takes a token as some revision of the bucket has it. Calls that were made
// with it go on only if it may do the same.
func (c *cache) put(s *stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.entries[s.ID]
	if before != nil && before.revision >= s.revision {
		return
	}
	if before == nil && s.revision <= c.delivered {
		// The watch has been past this revision and left nothing, so what was read
		// has been deleted meanwhile.
		return
	}
	next := &entry{stored: s, revision: s.revision}
	if before != nil && before.stored != nil && s.sameRights(before.Token) && s.hash == before.hash {
		next.ending = before.ending
	} else {
		before.end()
		next.ending = newEnding(s.Token)
	}
	c.entries[s.ID] = next
	if c.uses[s.ID] == nil {
		c.uses[s.ID] = &usage{}
	}
}

// remove takes the end of a token as of a revision. A note of it stays until the
// watch is past that, so that an earlier write which comes late does not bring the
// token back.
func (c *cache) remove(id string, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.entries[id]
	if before != nil && before.revision > revision {
		return
	}
	before.end()
	c.entries[id] = &entry{revision: revision}
	delete(c.uses, id)
}

// forget drops the note of a deletion once the watch has brought it.
func (c *cache) forget(id string, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil && e.stored == nil && e.revision <= revision {
		delete(c.entries, id)
	}
}

// keepOnly removes what a complete reading of the bucket up to a revision did not
// show.
func (c *cache) keepOnly(shown map[string]bool, upTo uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.entries {
		if !shown[id] && e.revision <= upTo {
			e.end()
			delete(c.entries, id)
			delete(c.uses, id)
		}
	}
}

// distrust makes whatever is read next count as newer than what is here: the
// bucket was restored to an earlier state, or is another one.
func (c *cache) distrust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.entries {
		next := *e
		next.revision = 0
		c.entries[id] = &next
	}
}

// advance notes how far the watch has come; 0 means that it begins anew.
func (c *cache) advance(revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if revision == 0 || revision > c.delivered {
		c.delivered = revision
	}
}

// reached is how far the watch has come.
func (c *cache) reached() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.delivered
}

// used notes what the bucket has of a token's use.
func (c *cache) used(id string, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.uses[id]
	if u == nil {
		u = &usage{}
		c.uses[id] = u
	}
	u.stored.Store(max(at, u.stored.Load()))
}

// all gives the tokens, the newest first.
func (c *cache) all() []*Token {
	c.mu.RLock()
	list := make([]*Token, 0, len(c.entries))
	for _, e := range c.entries {
		if e.stored != nil {
			list = append(list, joined(e, c.uses[e.ID]))
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Token) int {
		if c := b.CreateTime.Compare(a.CreateTime); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return list
}

// joined is a copy of a token with its use.
func joined(e *entry, u *usage) *Token {
	t := e.Token.clone()
	if u == nil {
		return t
	}
	if last := max(u.seen.Load(), u.stored.Load()); last > 0 {
		t.LastUseTime = time.Unix(last, 0).UTC()
	}
	return t
}

// end ends the calls that were made with a token.
func (e *entry) end() {
	if e != nil && e.stored != nil {
		e.ending.end()
	}
}
