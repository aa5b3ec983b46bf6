package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrOpen is returned by [Box.Open] for a value that does not open: it was
// sealed with a key that is not in the set, for another place, or changed.
var ErrOpen = errors.New("sealed value does not open with this key and place")

// A MissingKeyError says that a key set lacks a key that is needed.
type MissingKeyError struct {
	// Source says where the key set came from.
	Source string
	Key    KeyID
}

// Error implements error.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("the key set from %s has no key %d, with which stored secrets are sealed", e.Source, e.Key)
}

// Box seals and opens bytes with a Tink key set. A value is sealed with one key of
// the set, the primary one unless [Box.Use] chose another, and opened with
// whichever key of the set it names, so a new key can be added while the old ones
// still open what they sealed. A Box is safe for concurrent use and prints without
// its keys.
type Box struct {
	source *Source
	// The keys are behind a function so that printing a Box with %+v cannot
	// reach them.
	keys func() *boxKeys
}

// boxKeys are the keys that a Box has at present.
type boxKeys struct {
	mu sync.RWMutex
	*keySet
	use     KeyID
	changed chan struct{} // closed when other keys take the place of these
}

func newBox(set *keySet, source *Source) *Box {
	keys := &boxKeys{keySet: set, use: set.primary, changed: make(chan struct{})}
	return &Box{source: source, keys: func() *boxKeys { return keys }}
}

// Seal encrypts plain. The place names the record and field that the value
// belongs to, for example "account/ann/imap.password"; it is not stored, and
// the value opens only with the same place, so a sealed value that is copied
// onto another record is of no use there.
func (b *Box) Seal(plain, place []byte) ([]byte, error) {
	keys := b.keys()
	keys.mu.RLock()
	sealer := keys.sealers[keys.use]
	keys.mu.RUnlock()
	return seal(sealer, plain, place)
}

func seal(sealer tink.AEAD, plain, place []byte) ([]byte, error) {
	sealed, err := sealer.Encrypt(plain, place)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", place, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place. It fails with [ErrOpen],
// without telling which of the reasons it was: the cipher cannot know.
func (b *Box) Open(sealed, place []byte) ([]byte, error) {
	keys := b.keys()
	keys.mu.RLock()
	opener := keys.opener
	keys.mu.RUnlock()
	plain, err := opener.Decrypt(sealed, place)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, ErrOpen)
	}
	return plain, nil
}

// Reseal opens a value and seals it again for the same place, with the key that
// seals now.
func (b *Box) Reseal(sealed, place []byte) ([]byte, error) {
	plain, err := b.Open(sealed, place)
	if err != nil {
		return nil, err
	}
	return b.Seal(plain, place)
}

// Source says where the key set came from, for messages to people.
func (b *Box) Source() string { return b.source.String() }

// Keys gives the ids of the keys, and which of them is the primary one.
func (b *Box) Keys() (ids []KeyID, primary KeyID) {
	keys := b.keys()
	keys.mu.RLock()
	defer keys.mu.RUnlock()
	return slices.Clone(keys.ids), keys.primary
}

// Uses gives the id of the key that seals.
func (b *Box) Uses() KeyID {
	keys := b.keys()
	keys.mu.RLock()
	defer keys.mu.RUnlock()
	return keys.use
}

// Use has a key of the set seal from now on. It fails with [*MissingKeyError] and
// changes nothing if the set does not have it.
func (b *Box) Use(id KeyID) error {
	keys := b.keys()
	keys.mu.Lock()
	defer keys.mu.Unlock()
	if !keys.has(id) {
		return &MissingKeyError{Source: b.Source(), Key: id}
	}
	keys.use = id
	return nil
}

// Changed is closed when Reload has put other keys in the place of these.
func (b *Box) Changed() <-chan struct{} {
	keys := b.keys()
	keys.mu.RLock()
	defer keys.mu.RUnlock()
	return keys.changed
}

// Reload reads the key set again if its source has changed, and reports whether
// there are other keys now. The key that seals stays the same: a set that does not
// have it is refused with [*MissingKeyError], and what cannot be read changes
// nothing either. The same failure is reported once for each change of the source.
func (b *Box) Reload(ctx context.Context) (bool, error) {
	set, err := b.source.load(ctx)
	if set == nil || err != nil {
		return false, err
	}
	keys := b.keys()
	keys.mu.Lock()
	defer keys.mu.Unlock()
	if !set.has(keys.use) {
		return false, fmt.Errorf("%w: the keys in memory stay in use", &MissingKeyError{Source: b.Source(), Key: keys.use})
	}
	if slices.Equal(set.ids, keys.ids) && set.primary == keys.primary {
		return false, nil
	}
	keys.keySet = set
	close(keys.changed)
	keys.changed = make(chan struct{})
	return true, nil
}
