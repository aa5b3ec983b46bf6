package imapconn

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/emersion/go-imap/v2"
)

// capabilities is an immutable capability list. Ten thousand connections to one
// provider have the same one, so it is kept once: see internCaps.
type capabilities struct {
	set imap.CapSet
}

var capsPool = struct {
	sync.Mutex
	m map[string]weak.Pointer[capabilities]
}{m: make(map[string]weak.Pointer[capabilities])}

// internCaps returns the capability list with these members. Equal lists are
// the same pointer for as long as a connection refers to one.
func internCaps(set imap.CapSet) *capabilities {
	names := make([]string, 0, len(set))
	for c := range set {
		names = append(names, string(c))
	}
	slices.Sort(names)
	key := strings.Join(names, " ")

	capsPool.Lock()
	defer capsPool.Unlock()
	if c := capsPool.m[key].Value(); c != nil {
		return c
	}
	c := &capabilities{set: set}
	capsPool.m[key] = weak.Make(c)
	runtime.AddCleanup(c, forgetCaps, key)
	return c
}

func forgetCaps(key string) {
	capsPool.Lock()
	defer capsPool.Unlock()
	// An equal list may have been made anew in the meantime.
	if capsPool.m[key].Value() == nil {
		delete(capsPool.m, key)
	}
}

func (c *capabilities) has(want imap.Cap) bool { return c != nil && c.set.Has(want) }
