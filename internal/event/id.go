package event

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash"
)

// idVersion is hashed into every id: another way to compute natural keys needs
// another version, so that ids of the two never meet.
const idVersion = "postern-event-1"

// idSize leaves 128 bits: no two facts share an id by accident.
const idSize = 16

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// naturalKey gathers what tells one fact from another. Every part is written
// with its length, so that no two lists of parts run into each other.
type naturalKey struct{ h hash.Hash }

func newNaturalKey(account string, t Type) naturalKey {
	k := naturalKey{h: sha256.New()}
	k.text(idVersion)
	k.text(account)
	k.text(string(t))
	return k
}

func (k naturalKey) text(s string) {
	k.number(uint64(len(s)))
	k.h.Write([]byte(s))
}

func (k naturalKey) number(n uint64) {
	var buf [8]byte
	binary.BigEndian.PutUint64(buf[:], n)
	k.h.Write(buf[:])
}

func (k naturalKey) texts(list []string) {
	k.number(uint64(len(list)))
	for _, s := range list {
		k.text(s)
	}
}

// id ends the key: base32hex in lower case of the truncated SHA-256.
func (k naturalKey) id() string {
	return idEncoding.EncodeToString(k.h.Sum(nil)[:idSize])
}
