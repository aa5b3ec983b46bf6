package secret

import "fmt"

// WrongKeyError says that the key set is not the one that the stored secrets
// were sealed with. Nothing has been changed when it is returned.
type WrongKeyError struct {
	// Source says where the key set came from: a file's path or a variable.
	Source string
	// Key is the key that sealed them, 0 if that cannot be told.
	Key KeyID
}

// Error implements error.
func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the key set from %s is not the one that the stored credentials were sealed with: it does not have key %d: "+
		"restore the original key set there, or the newer one if the keys were rotated on another node; "+
		"or start with an empty data directory and register the accounts again", e.Source, e.Key)
}

// checkPlace is the place of the check value.
var checkPlace = []byte("postern/key-check")

// NewCheck makes a check value, sealed with a key of the set, to be stored beside
// the first secret and handed to Check at every later start.
func (b *Box) NewCheck(id KeyID) ([]byte, error) {
	keys := b.keys()
	keys.mu.RLock()
	sealer := keys.sealers[id]
	keys.mu.RUnlock()
	if sealer == nil {
		return nil, &MissingKeyError{Source: b.Source(), Key: id}
	}
	return seal(sealer, []byte("postern"), checkPlace)
}

// Check opens a stored check value, and has the key that sealed it seal from now
// on. It fails with [*WrongKeyError] when the key set does not have that key.
func (b *Box) Check(stored []byte) error {
	id, _ := SealedBy(stored)
	if _, err := b.Open(stored, checkPlace); err != nil {
		return &WrongKeyError{Source: b.Source(), Key: id}
	}
	return b.Use(id)
}
