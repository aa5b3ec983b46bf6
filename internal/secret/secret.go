// Package secret seals what Postern stores about other people's mailboxes and
// keeps passwords and tokens out of logs.
//
// A [Box] seals bytes under a key set that lives outside the store: in a file
// that only its owner may read, or in the environment. A [String] holds a
// secret in memory and prints as [redacted] on every route.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every secret prints as.
const Redacted = "[redacted]"

// String is a secret text. It prints as [redacted] through fmt, slog and the
// text and JSON encodings; only Reveal gives its value. The zero String is the
// empty secret.
//
// The value sits behind a pointer, not in a named string, because fmt and
// panic do not call the methods of an unexported field: they would print a
// named string as it is, and print a pointer as an address.
type String struct {
	value *string
}

// New makes a secret of value.
func New(value string) String {
	if value == "" {
		return String{}
	}
	return String{value: &value}
}

// Reveal gives the secret itself. Call it where the value leaves the process
// towards the one who is meant to have it, and nowhere else.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s String) IsZero() bool { return s.value == nil }

// Equal reports whether two secrets have the same value. It is for finding out
// what changed, not for authentication: its time depends on the values.
func (s String) Equal(other String) bool { return s.Reveal() == other.Reveal() }

// String implements [fmt.Stringer].
func (String) String() string { return Redacted }

// GoString implements [fmt.GoStringer].
func (String) GoString() string { return Redacted }

// Format implements [fmt.Formatter], so that no verb or flag shows more.
func (String) Format(state fmt.State, _ rune) {
	// A failed write is the business of whoever owns the writer.
	_, _ = io.WriteString(state, Redacted)
}

// LogValue implements [slog.LogValuer].
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements [encoding.TextMarshaler]; YAML uses it as well.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON implements [json.Marshaler].
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
