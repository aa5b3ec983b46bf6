package jwt

import "time"

// AskEvery changes how long there is between two requests for keys.
func AskEvery(a *Authenticator, wait time.Duration) {
	r, ok := a.keys.(*remote)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = wait
}

// ParseKeys reads a key set.
func ParseKeys(document []byte) { _, _, _ = parseKeys(document) }
