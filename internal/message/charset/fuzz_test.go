package charset

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func FuzzDecode(f *testing.F) {
	for _, tt := range samples {
		f.Add([]byte(tt.raw), tt.label)
	}
	f.Fuzz(func(t *testing.T, raw []byte, label string) {
		text, outcome := Decode(raw, label, "koi8-r")
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			t.Errorf("%q from %q in %q", text, raw, label)
		}
		r := NewReader(iotest.HalfReader(bytes.NewReader(raw)), label, "koi8-r")
		streamed, err := io.ReadAll(r)
		if err != nil || string(streamed) != text {
			t.Errorf("whole %q, streamed %q, %v", text, streamed, err)
		}
		if r.Outcome() != outcome {
			t.Errorf("whole %+v, streamed %+v", outcome, r.Outcome())
		}
	})
}
