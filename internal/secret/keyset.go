package secret

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KeyID names a key of a key set, as Tink does. It is no secret: each sealed
// value begins with it.
type KeyID uint32

// prefixSize is what Tink puts before a ciphertext: a byte of 1 and the key's id.
const prefixSize = 5

// SealedBy gives the id of the key that sealed a value, and false for what no
// Box has sealed.
func SealedBy(sealed []byte) (KeyID, bool) {
	if len(sealed) < prefixSize || sealed[0] != 1 {
		return 0, false
	}
	return KeyID(binary.BigEndian.Uint32(sealed[1:prefixSize])), true
}

// keySet is a parsed key set: it opens what any of its keys has sealed, and seals
// with whichever it is told to.
type keySet struct {
	ids     []KeyID // in the order of the set, which is that of their making
	primary KeyID
	opener  tink.AEAD
	sealers map[KeyID]tink.AEAD
}

// newKeySet makes the ciphers of a key set. Keys that are switched off in it do
// not count.
func newKeySet(handle *keyset.Handle) (*keySet, error) {
	opener, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	set := &keySet{opener: opener, sealers: make(map[KeyID]tink.AEAD)}
	info := handle.KeysetInfo()
	set.primary = KeyID(info.GetPrimaryKeyId())
	for _, key := range info.GetKeyInfo() {
		if key.GetStatus() != tinkpb.KeyStatusType_ENABLED {
			continue
		}
		id := KeyID(key.GetKeyId())
		if key.GetOutputPrefixType() != tinkpb.OutputPrefixType_TINK {
			return nil, fmt.Errorf("key %d does not put its id before what it seals: make keys of the output prefix TINK", id)
		}
		if set.sealers[id], err = sealerOf(handle, id); err != nil {
			return nil, fmt.Errorf("key %d: %w", id, err)
		}
		set.ids = append(set.ids, id)
	}
	return set, nil
}

// sealerOf makes the cipher that seals with one key of a set.
func sealerOf(handle *keyset.Handle, id KeyID) (tink.AEAD, error) {
	manager := keyset.NewManagerFromHandle(handle)
	if err := manager.SetPrimary(uint32(id)); err != nil {
		return nil, err
	}
	one, err := manager.Handle()
	if err != nil {
		return nil, err
	}
	return aead.New(one)
}

func (s *keySet) has(id KeyID) bool { return slices.Contains(s.ids, id) }

// newHandle makes a key set with one new key.
func newHandle() (*keyset.Handle, error) {
	// XChaCha20-Poly1305, because its 192-bit random nonces put no bound on
	// the number of values sealed under one key.
	return keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
}

// withNewKey adds a key to a key set and makes it the primary one.
func withNewKey(handle *keyset.Handle) (*keyset.Handle, KeyID, error) {
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return nil, 0, err
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, 0, err
	}
	next, err := manager.Handle()
	return next, KeyID(id), err
}

// without takes keys out of a key set.
func without(handle *keyset.Handle, ids []KeyID) (*keyset.Handle, error) {
	manager := keyset.NewManagerFromHandle(handle)
	for _, id := range ids {
		if handle.KeysetInfo().GetPrimaryKeyId() == uint32(id) {
			return nil, errors.New("the primary key of a set cannot be taken out of it")
		}
		if err := manager.Delete(uint32(id)); err != nil {
			return nil, err
		}
	}
	return manager.Handle()
}
