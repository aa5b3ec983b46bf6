package imapwire

import (
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, encoded, decoded string }{
		{"ASCII", "INBOX/foo", "INBOX/foo"},
		{"ampersand", "a&-b", "a&b"},
		{"RFC 3501 example", "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"},
		{"German", "Entw&APw-rfe", "Entwürfe"},
		{"beyond the basic plane", "&2D3eAA-", "😀"},
		{"empty", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := EncodeUTF7(tc.decoded); got != tc.encoded {
				t.Errorf("EncodeUTF7 = %q, want %q", got, tc.encoded)
			}
			if got, exact := DecodeUTF7(tc.encoded); got != tc.decoded || !exact {
				t.Errorf("DecodeUTF7 = %q, %v, want %q", got, exact, tc.decoded)
			}
		})
	}
}

// TestDecodeUTF7Lenient decodes names that servers should not have sent.
func TestDecodeUTF7Lenient(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"bare ampersand", "R&D", "R&D"},
		{"ampersand at the end", "foo&", "foo&"},
		{"shift never closed", "foo&APw", "foo&APw"},
		{"bad base64", "a&!!!-b", "a&!!!-b"},
		{"half a unit", "&AP-", "&AP-"},
		{"lone surrogate", "&2D0-", "&2D0-"},
		{"bad shift before a good one", "R&D &APw-", "R&D ü"},
		{"ASCII in a shift", "&AGE-", "a"},
		{"control character in a shift", "&AAo-", "&AAo-"},
		{"raw UTF-8", "Entwürfe", "Entwürfe"},
		{"raw 8-bit", "Entw\xfcrfe", "Entwürfe"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got, exact := DecodeUTF7(tc.in); got != tc.want || exact {
				t.Errorf("DecodeUTF7 = %q, exact %v, want %q", got, exact, tc.want)
			}
		})
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "a&-b", "&U,BTFw-/&ZeVnLIqe-", "R&D", "&2D3eAA-", "&AGE-", "&&-", "\xff&APw-", "&AAo-", "&A\r\nPw-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, exact := DecodeUTF7(s)
		if !utf8.ValidString(name) {
			t.Errorf("DecodeUTF7(%q) = %q, not UTF-8", s, name)
		}
		if exact && EncodeUTF7(name) != s {
			t.Errorf("DecodeUTF7(%q) = %q claims to be exact", s, name)
		}
		encoded := EncodeUTF7(s)
		for i := range len(encoded) {
			if !isUTF7Direct(encoded[i]) {
				t.Fatalf("EncodeUTF7(%q) = %q, not printable ASCII", s, encoded)
			}
		}
		back, exact := DecodeUTF7(encoded)
		if !exact && !hasControl(s) && utf8.ValidString(s) {
			t.Errorf("DecodeUTF7(EncodeUTF7(%q)) is not exact", s)
		}
		if exact && utf8.ValidString(s) && back != s {
			t.Errorf("DecodeUTF7(EncodeUTF7(%q)) = %q", s, back)
		}
	})
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
