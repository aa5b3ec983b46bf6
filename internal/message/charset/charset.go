// Package charset turns the bytes of mail into UTF-8, whatever name their
// sender gave to the encoding, or none, or a wrong one.
//
// It knows every charset of golang.org/x/text, UTF-7 and ISO-2022-KR, and the
// many spellings that mailers use for them. What it cannot know it guesses,
// and says so in the [Outcome].
package charset

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// Outcome tells how bytes became text.
type Outcome struct {
	// Charset is the name of the charset that was used, in lower case.
	Charset string
	// Unknown says that the declared name means nothing to this package.
	Unknown bool
	// Guessed says that the charset used is not the declared one, because
	// that was missing, unknown, or plainly contradicted by the bytes.
	Guessed bool
	// Invalid says that some bytes do not exist in the charset; U+FFFD stands
	// in their place.
	Invalid bool
}

// Decode turns b into UTF-8. label is the declared charset and may be empty;
// hint is what else is known of the sender's habits, such as the charset of
// the body for a raw header, and may be empty too. NULs are dropped. Decode
// never fails.
func Decode(b []byte, label, hint string) (string, Outcome) {
	c := choose(b, true, label, hint)
	if c.enc == nil {
		return decodeUTF8(b, c.Outcome)
	}
	// Decoders of golang.org/x/text, and ours, write valid UTF-8 only.
	out, err := c.enc.NewDecoder().Bytes(b)
	c.Invalid = err != nil || bytes.ContainsRune(out, utf8.RuneError)
	return string(dropNUL(out)), c.Outcome
}

func decodeUTF8(b []byte, o Outcome) (string, Outcome) {
	b = bytes.TrimPrefix(b, bomUTF8)
	if !utf8.Valid(b) {
		o.Invalid = true
		// Each invalid byte becomes U+FFFD, as in [Reader].
		b = []byte(string([]rune(string(b))))
	}
	if bytes.IndexByte(b, 0) >= 0 {
		b = dropNUL(bytes.Clone(b))
	}
	return string(b), o
}

// dropNUL works in place.
func dropNUL(b []byte) []byte {
	first := bytes.IndexByte(b, 0)
	if first < 0 {
		return b
	}
	out := b[:first]
	for _, c := range b[first:] {
		if c != 0 {
			out = append(out, c)
		}
	}
	return out
}

var (
	bomUTF8    = []byte("\xEF\xBB\xBF")
	bomUTF16BE = []byte("\xFE\xFF")
	bomUTF16LE = []byte("\xFF\xFE")
)

// choice is an encoding with the reason for it. A nil enc is UTF-8.
type choice struct {
	Outcome
	enc encoding.Encoding
}

// choose decides by the declared name, and by the bytes where the name says
// nothing or is contradicted. whole says that sample is all there is.
func choose(sample []byte, whole bool, label, hint string) choice {
	declared, known := lookup(label)
	informative := known && declared.name != nameASCII && declared.name != ""
	unknown := !known
	guessed := func(name string, enc encoding.Encoding) choice {
		return choice{Outcome{Charset: name, Unknown: unknown, Guessed: true}, enc}
	}
	if bytes.HasPrefix(sample, bomUTF8) && declared.name != nameUTF8 {
		return guessed(nameUTF8, nil)
	}
	if informative && declared.name != nameUTF8 {
		return choice{Outcome{Charset: declared.name}, declared.enc}
	}
	if !whole {
		sample = trimPartialRune(sample)
	}
	multibyte, invalid := scanUTF8(sample)
	switch {
	case declared.name == nameUTF8 && (invalid == 0 || multibyte > 0):
		// Some valid sequences prove the name; the rest is damage.
		return choice{Outcome{Charset: nameUTF8}, nil}
	case invalid == 0 && multibyte == 0:
		if c, ok := guessSevenBit(sample); ok {
			return guessed(c.name, c.enc)
		}
		return choice{Outcome{Charset: nameASCII, Unknown: unknown}, nil}
	case invalid == 0:
		return guessed(nameUTF8, nil)
	case bytes.HasPrefix(sample, bomUTF16BE), bytes.HasPrefix(sample, bomUTF16LE):
		return guessed("utf-16", unicode.UTF16(unicode.BigEndian, unicode.UseBOM))
	}
	if h, ok := lookup(hint); ok && h.enc != nil {
		return guessed(h.name, h.enc)
	}
	return guessed("windows-1252", charmap.Windows1252)
}

// guessSevenBit finds the charsets that hide behind seven bits. RFC 1468: the
// escape sequences of ISO-2022-JP occur in nothing else that is mailed.
func guessSevenBit(sample []byte) (entry, bool) {
	for _, esc := range []string{"\x1b$B", "\x1b$@", "\x1b(J"} {
		if bytes.Contains(sample, []byte(esc)) {
			return lookup("iso-2022-jp")
		}
	}
	if bytes.Contains(sample, []byte("\x1b$)C")) {
		return lookup("iso-2022-kr")
	}
	return entry{}, false
}

// scanUTF8 counts the sequences longer than a byte, and the bytes that are in
// no sequence.
func scanUTF8(b []byte) (multibyte, invalid int) {
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			invalid++
		} else {
			multibyte++
		}
		b = b[n:]
	}
	return multibyte, invalid
}

// trimPartialRune cuts a sequence that the end of the sample has split.
func trimPartialRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		tail := b[len(b)-i:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
