package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Incarnation tells one life of the stream from the next: a stream that was
// deleted and made anew counts from one again, and a cursor of the old one
// would silently point at another event.
type Incarnation [6]byte

// String is the incarnation in hexadecimal.
func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// incarnationOf derives the incarnation from the time at which the stream was
// created, which every node is told alike and which outlives restarts.
func incarnationOf(info *jetstream.StreamInfo) Incarnation {
	var ns [8]byte
	binary.BigEndian.PutUint64(ns[:], uint64(info.Created.UnixNano()))
	sum := sha256.Sum256(append([]byte(info.Config.Name), ns[:]...))
	return Incarnation(sum[:len(Incarnation{})])
}

// Cursor is a position in the log: after one event and before the next. It is
// valid on every node. The zero Cursor is the beginning of what is kept.
type Cursor struct {
	incarnation Incarnation
	sequence    uint64
}

// cursorVersion is the first byte of a cursor's encoding.
const cursorVersion = 1

// CursorError reports a string that is not a cursor.
type CursorError struct{ Value string }

// Error implements error.
func (e *CursorError) Error() string { return fmt.Sprintf("%q is not an event cursor", e.Value) }

// CursorExpiredError reports a cursor whose events are no longer in the log,
// or that belongs to a log that is gone. Oldest and Head are where reading can
// go on: with everything that is left, or with what comes next.
type CursorExpiredError struct{ Oldest, Head Cursor }

// Error implements error.
func (e *CursorExpiredError) Error() string {
	return fmt.Sprintf("the event cursor has expired: the log goes from %s to %s", e.Oldest, e.Head)
}

// ParseCursor reads what [Cursor.String] writes, and only that; the rest is a
// [*CursorError]. The empty string is the zero Cursor.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) < 2+len(Incarnation{}) || raw[0] != cursorVersion {
		return Cursor{}, &CursorError{Value: s}
	}
	sequence, n := binary.Uvarint(raw[7:])
	c := Cursor{incarnation: Incarnation(raw[1:7]), sequence: sequence}
	if n <= 0 || c.String() != s {
		return Cursor{}, &CursorError{Value: s}
	}
	return c, nil
}

// String gives the cursor as an opaque string that is safe in URLs and
// headers.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	raw := append(make([]byte, 0, 17), cursorVersion)
	raw = append(raw, c.incarnation[:]...)
	raw = binary.AppendUvarint(raw, c.sequence)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// IsZero reports whether c is the beginning of what is kept.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// Sequence is the stream sequence that c stands behind.
func (c Cursor) Sequence() uint64 { return c.sequence }

// Compare orders cursors of one log: negative when c is before other. Cursors
// of different incarnations have an order too, but it means nothing.
func (c Cursor) Compare(other Cursor) int {
	if d := bytes.Compare(c.incarnation[:], other.incarnation[:]); d != 0 {
		return d
	}
	switch {
	case c.sequence < other.sequence:
		return -1
	case c.sequence > other.sequence:
		return 1
	}
	return 0
}
