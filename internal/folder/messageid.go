package folder

import (
	"encoding/binary"

	"github.com/emersion/go-imap/v2"
)

const messageIDSize = keySize + 4 + 4

// MessageID is a placement: it says where a message is, resolves without a
// lookup, and dies with a move or a change of UIDVALIDITY.
type MessageID struct {
	Folder Key
	// UIDValidity is 0 on servers that do not tell it.
	UIDValidity uint32
	UID         imap.UID
}

// ParseMessageID reads an id as [MessageID.String] writes it. Only that one
// spelling is accepted, so that equal ids are equal strings; the rest is an
// [*IDError].
func ParseMessageID(s string) (MessageID, error) {
	raw, err := encoding.DecodeString(s)
	if err != nil || len(raw) != messageIDSize {
		return MessageID{}, &IDError{Kind: "message", Value: s}
	}
	id := MessageID{
		Folder:      Key(raw[:keySize]),
		UIDValidity: binary.BigEndian.Uint32(raw[keySize:]),
		UID:         imap.UID(binary.BigEndian.Uint32(raw[keySize+4:])),
	}
	// RFC 9051 section 2.3.1.1: a UID is not zero. The comparison refuses
	// stray bits behind the last byte and the line breaks that base32 skips.
	if id.UID == 0 || id.String() != s {
		return MessageID{}, &IDError{Kind: "message", Value: s}
	}
	return id, nil
}

// String gives the 21 characters that stand for the placement in resource
// names. Ids of one folder and UIDVALIDITY sort as their UIDs do.
func (m MessageID) String() string {
	var raw [messageIDSize]byte
	copy(raw[:], m.Folder[:])
	binary.BigEndian.PutUint32(raw[keySize:], m.UIDValidity)
	binary.BigEndian.PutUint32(raw[keySize+4:], uint32(m.UID))
	return encoding.EncodeToString(raw[:])
}

// MarshalText implements [encoding.TextMarshaler].
func (m MessageID) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *MessageID) UnmarshalText(text []byte) error {
	parsed, err := ParseMessageID(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}
