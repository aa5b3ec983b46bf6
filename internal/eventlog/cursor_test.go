package eventlog

import (
	"errors"
	"testing"
)

func TestCursorText(t *testing.T) {
	t.Parallel()
	c := Cursor{incarnation: Incarnation{1, 2, 3, 4, 5, 6}, sequence: 300}
	if got, want := c.String(), "AQECAwQFBqwC"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	for name, s := range map[string]string{
		"garbage":            "hello",
		"another version":    "AgECAwQFBqwC",
		"short":              "AQECAwQFBg",
		"a longer number":    "AQECAwQFBqyCAA",
		"something behind":   "AQECAwQFBqwCAA",
		"padding":            "AQECAwQFBqwC==",
		"a line break":       "AQEC\nAwQFBqwC",
		"number over 64 bit": "AQECAwQFBv_______________wE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseCursor(s)
			if typed := (*CursorError)(nil); !errors.As(err, &typed) {
				t.Errorf("ParseCursor(%q) = %v, want *CursorError", s, err)
			}
		})
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("AQECAwQFBqwC")
	f.Add(Cursor{incarnation: Incarnation{255}, sequence: 1<<64 - 1}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err == nil && c.String() != s {
			t.Fatalf("%q reads as %+v, which writes as %q", s, c, c)
		}
	})
}
