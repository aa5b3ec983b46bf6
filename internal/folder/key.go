package folder

import (
	"encoding/base32"
	"fmt"
)

// keySize is chosen so that a key is eight base32 characters without padding:
// 40 bits, so two of a thousand folders of one account collide once in two
// million accounts, and then the registry counts on.
const keySize = 5

// encoding is base32hex in lower case: safe in URLs, NATS subject tokens and
// key-value keys, and in the same order as the bytes (RFC 4648 section 7).
var encoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Key names a folder within its account. It is given out once, by the
// [Registry], and survives renames. The zero Key names no folder.
type Key [keySize]byte

// IDError reports a string that is not a folder key or a message id as this
// package writes them.
type IDError struct {
	Kind  string // "folder" or "message"
	Value string
}

// Error implements error.
func (e *IDError) Error() string {
	return fmt.Sprintf("%q is not a %s id", e.Value, e.Kind)
}

// ParseKey reads a key as [Key.String] writes it. Anything else, upper case
// included, is an [*IDError]: a folder has one name.
func ParseKey(s string) (Key, error) {
	raw, err := encoding.DecodeString(s)
	if err != nil || len(raw) != keySize || encoding.EncodeToString(raw) != s {
		return Key{}, &IDError{Kind: "folder", Value: s}
	}
	return Key(raw), nil
}

// IsZero reports whether k names no folder.
func (k Key) IsZero() bool { return k == Key{} }

// String gives the eight characters that stand for the folder in resource
// names, event headers and key-value keys.
func (k Key) String() string { return encoding.EncodeToString(k[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *Key) UnmarshalText(text []byte) error {
	parsed, err := ParseKey(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}
