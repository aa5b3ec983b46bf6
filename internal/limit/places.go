package limit

import "sync"

// Places counts what each key holds at a time. Keys that hold nothing take no
// memory.
type Places struct {
	most int

	mu   sync.Mutex
	held map[string]int
}

// NewPlaces lets each key hold so many places at a time; a number that is not
// positive means as many as it likes.
func NewPlaces(most int) *Places { return &Places{most: most, held: make(map[string]int)} }

// Most is how many places a key may hold.
func (p *Places) Most() int { return p.most }

// Take takes a place, unless the key has all that it may have.
func (p *Places) Take(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > 0 && p.held[key] >= p.most {
		return false
	}
	p.held[key]++
	return true
}

// Leave gives a place back.
func (p *Places) Leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[key]--; p.held[key] <= 0 {
		delete(p.held, key)
	}
}

// Held is how many places a key holds.
func (p *Places) Held(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[key]
}

// Len is how many keys hold places.
func (p *Places) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}
