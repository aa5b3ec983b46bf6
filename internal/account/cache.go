package account

import (
	"slices"
	"sync"
)

// entry is an account as the bucket has it.
type entry struct {
	*stored           // nil for one that was deleted here, or cannot be read
	kvRevision uint64 // of the key
	unreadable bool
}

// statusEntry is a status as the bucket has it.
type statusEntry struct {
	record     *statusRecord
	kvRevision uint64
}

// cache is the bucket in memory. What it holds of a key only ever moves to a
// higher revision, so this node's own writes and the watch may come in any
// order. Accounts in it are never changed, only replaced.
type cache struct {
	mu       sync.RWMutex
	accounts map[string]entry
	statuses map[string]statusEntry
	// held are statuses that this node has not been able to store.
	held map[string]*statusRecord
	ids  []string // of the accounts that are there, sorted
	// delivered is the highest revision that the watch has brought.
	delivered uint64
	watchers  map[*subscription]struct{}
}

func newCache() *cache {
	return &cache{
		accounts: make(map[string]entry),
		statuses: make(map[string]statusEntry),
		held:     make(map[string]*statusRecord),
		watchers: make(map[*subscription]struct{}),
	}
}

// get gives the account as stored; it must not be changed.
func (c *cache) get(id string) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.accounts[id]
	return e, e.stored != nil
}

// count is how many accounts there are.
func (c *cache) count() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.ids)
}

// read gives a copy of an account with its status.
func (c *cache) read(id string) (*Account, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if a := c.joined(id); a != nil {
		return a.Clone(), nil
	}
	return nil, &NotFoundError{ID: id}
}

// joined gives an account with its status, or nil. It shares the cache's maps
// and lists. The caller holds the lock.
func (c *cache) joined(id string) *Account {
	e := c.accounts[id]
	if e.stored == nil {
		return nil
	}
	a := *e.account
	record := c.statuses[id].record
	if held := c.held[id]; held != nil {
		record = held
	}
	a.Status = record.joined(&a)
	return &a
}

// seen reports whether a revision of an account brings nothing new.
func (c *cache) seen(id string, kvRevision uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.accounts[id].kvRevision >= kvRevision
}

func (c *cache) put(id string, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.accounts[id]
	if before.kvRevision >= e.kvRevision {
		return
	}
	if !known && e.kvRevision <= c.delivered {
		// The watch has been past this revision and left nothing, so what was
		// read has been deleted meanwhile.
		return
	}
	c.accounts[id] = e
	if before.stored == nil {
		at, _ := slices.BinarySearch(c.ids, id)
		c.ids = slices.Insert(c.ids, at, id)
	} else if before.account.Etag == e.account.Etag {
		return // a token was refreshed, which is no news to watchers
	}
	c.wake(id)
}

// remove notes that an account is gone as of a revision. The note stays, so
// that an earlier write that the watch delivers late does not bring it back.
func (c *cache) remove(id string, kvRevision uint64) { c.drop(id, entry{kvRevision: kvRevision}) }

// lose notes that an account cannot be read as of a revision. That revision counts
// as not seen yet, because with other keys it may open.
func (c *cache) lose(id string, kvRevision uint64) {
	c.drop(id, entry{kvRevision: kvRevision - 1, unreadable: true})
}

// isUnreadable reports whether an account is there and cannot be read.
func (c *cache) isUnreadable(id string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.accounts[id].unreadable
}

// drop puts an entry without an account in the place of the one there is.
func (c *cache) drop(id string, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.accounts[id]
	if before.kvRevision > e.kvRevision {
		return
	}
	c.accounts[id] = e
	delete(c.held, id)
	if before.stored != nil {
		if at, found := slices.BinarySearch(c.ids, id); found {
			c.ids = slices.Delete(c.ids, at, at+1)
		}
	}
	if before.stored != nil || before.unreadable != e.unreadable {
		c.wake(id)
	}
}

// forget drops the note of a deletion once the watch has delivered it.
func (c *cache) forget(id string, kvRevision uint64) {
	c.remove(id, kvRevision)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.accounts[id]; ok && e.stored == nil && e.kvRevision <= kvRevision {
		delete(c.accounts, id)
	}
}

// holdStatus shows a status until one is stored.
func (c *cache) holdStatus(id string, record *statusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[id] = record
}

// putStatus takes a status; a nil record is a deleted one.
func (c *cache) putStatus(id string, kvRevision uint64, record *statusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.statuses[id].kvRevision >= kvRevision {
		return
	}
	delete(c.held, id)
	if record == nil {
		delete(c.statuses, id)
		return
	}
	c.statuses[id] = statusEntry{record: record, kvRevision: kvRevision}
}

// advance notes how far the watch has come.
func (c *cache) advance(kvRevision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered = kvRevision
}

// orphans gives the statuses without an account, with their revisions.
func (c *cache) orphans() map[string]uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found := make(map[string]uint64)
	for id, status := range c.statuses {
		if e := c.accounts[id]; e.stored == nil && !e.unreadable {
			found[id] = status.kvRevision
		}
	}
	return found
}

// keepOnly removes what a complete reading of the bucket did not show.
func (c *cache) keepOnly(seen map[string]bool, upTo uint64) {
	for _, id := range c.allIDs() {
		if e, ok := c.get(id); ok && !seen[accountKey(id)] && e.kvRevision <= upTo {
			c.forget(id, upTo)
		}
	}
}

func (c *cache) allIDs() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.ids)
}
