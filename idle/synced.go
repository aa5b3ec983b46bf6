package idle

import (
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/folder"
)

// synced is when each folder was last compared with the server and all that had
// changed in it was told. The owner writes it, and whoever shows folders reads
// it.
type synced struct {
	mu sync.Mutex
	at map[folder.Key]time.Time
}

func (s *synced) set(key folder.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[folder.Key]time.Time)
	}
	s.at[key] = time.Now()
}

func (s *synced) forget(key folder.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, key)
}

func (s *synced) get(key folder.Key) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[key]
}

// Synced returns when a folder was last compared with the server and what had
// changed in it was announced; zero when this node does not watch it or has not
// got to it. Any goroutine may call it.
func (s *Supervisor) Synced(account string, key folder.Key) time.Time {
	if o := s.owner(account); o != nil {
		return o.synced.get(key)
	}
	return time.Time{}
}

// Look makes whoever watches the account compare its folders with the server
// now, and not at the next poll. It does nothing when this node does not watch
// the account. Any goroutine may call it.
func (s *Supervisor) Look(account string) {
	if o := s.owner(account); o != nil {
		o.hint()
	}
}

func (s *Supervisor) owner(account string) *owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.owners[account]; r != nil {
		return r.owner
	}
	return nil
}
