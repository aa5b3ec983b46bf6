package secret

import (
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrOpen is returned by [Box.Open] for a value that does not open: it was
// sealed with a key that is not in the set, for another place, or changed.
var ErrOpen = errors.New("sealed value does not open with this key and place")

// WrongKeyError says that the key set is not the one that the stored secrets
// were sealed with. Nothing has been changed when it is returned.
type WrongKeyError struct {
	// Source says where the key set came from: a file's path or a variable.
	Source string
}

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("the key set from %s is not the one that the stored credentials were sealed with: "+
		"restore the original key set there, or start with an empty data directory and register the accounts again", e.Source)
}

// Box seals and opens bytes with a Tink key set. A value is sealed with the
// set's primary key and opened with whichever key of the set it names, so a
// new primary key can be added while the old ones still open what they sealed.
// A Box is safe for concurrent use and prints without its keys.
type Box struct {
	// The primitive is behind a function so that printing a Box with %+v
	// cannot reach the keys.
	primitive func() tink.AEAD
	source    string
}

func newBox(handle *keyset.Handle, source string) (*Box, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("key set from %s: %w", source, err)
	}
	return &Box{primitive: func() tink.AEAD { return primitive }, source: source}, nil
}

// Seal encrypts plain. The place names the record and field that the value
// belongs to, for example "account/ann/imap.password"; it is not stored, and
// the value opens only with the same place, so a sealed value that is copied
// onto another record is of no use there.
func (b *Box) Seal(plain, place []byte) ([]byte, error) {
	sealed, err := b.primitive().Encrypt(plain, place)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", place, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place. It fails with [ErrOpen],
// without telling which of the reasons it was: the cipher cannot know.
func (b *Box) Open(sealed, place []byte) ([]byte, error) {
	plain, err := b.primitive().Decrypt(sealed, place)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, ErrOpen)
	}
	return plain, nil
}

// Source says where the key set came from, for messages to people.
func (b *Box) Source() string { return b.source }

// checkPlace is the place of the check value.
var checkPlace = []byte("postern/key-check")

// NewCheck makes a sealed check value, to be stored beside the first secret
// and handed to Check at every later start.
func (b *Box) NewCheck() ([]byte, error) {
	return b.Seal([]byte("postern"), checkPlace)
}

// Check opens a stored check value. It fails with [*WrongKeyError] when the
// key set is not the one in use when the value was made.
func (b *Box) Check(stored []byte) error {
	if _, err := b.Open(stored, checkPlace); err != nil {
		return &WrongKeyError{Source: b.source}
	}
	return nil
}
