package discover

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

// For how long is remembered what was found, and that nothing was; and of how many
// domains. A domain takes a few kilobytes at most.
const (
	foundLife   = 10 * time.Minute
	nothingLife = time.Minute // and where all that was found did not do
	maxDomains  = 2000
)

// cache remembers what was found lately.
type cache struct {
	mu      sync.Mutex
	domains map[string]*list.Element
	// order has the entries, the newest first.
	order list.List
}

type cached struct {
	domain  string
	found   []Candidate
	expires time.Time
}

func (c *cache) get(domain string, now time.Time) ([]Candidate, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.domains[domain]
	if element == nil {
		return nil, false
	}
	entry := element.Value.(*cached)
	if now.After(entry.expires) {
		c.drop(element)
		return nil, false
	}
	return entry.found, true
}

func (c *cache) put(domain string, found []Candidate, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.domains == nil {
		c.domains = make(map[string]*list.Element)
	}
	if old := c.domains[domain]; old != nil {
		c.drop(old)
	}
	life := nothingLife
	if slices.ContainsFunc(found, func(c Candidate) bool { return !c.failed }) {
		life = foundLife
	}
	c.domains[domain] = c.order.PushFront(&cached{domain: domain, found: found, expires: now.Add(life)})
	if c.order.Len() > maxDomains {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	delete(c.domains, element.Value.(*cached).domain)
	c.order.Remove(element)
}
