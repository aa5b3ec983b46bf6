package imapwire

import (
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

var words = &mime.WordDecoder{CharsetReader: charsetReader}

// DecodeText decodes the RFC 2047 words of a header's text. What it cannot
// decode it leaves as it is; the result is always UTF-8.
func DecodeText(raw string) string {
	if !strings.Contains(raw, "=?") {
		return validText(raw)
	}
	s, err := words.DecodeHeader(validText(raw))
	if err != nil {
		return validText(raw)
	}
	return validText(s)
}

func (d *Decoder) decodeText(raw string) string {
	if raw == "" {
		return ""
	}
	if d.DecodeText != nil {
		return d.DecodeText(raw)
	}
	return DecodeText(raw)
}

// charsetReader never fails: a text in an unknown charset is better shown in a
// wrong one than withheld.
func charsetReader(charset string, input io.Reader) (io.Reader, error) {
	if e, err := htmlindex.Get(charset); err == nil {
		return e.NewDecoder().Reader(input), nil
	}
	if e, err := ianaindex.MIME.Encoding(charset); err == nil && e != nil {
		return e.NewDecoder().Reader(input), nil
	}
	return input, nil
}

// latin reads bytes in no known charset as Windows-1252, which has a character
// for nearly every byte.
func latin(s string) string {
	out, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil || !utf8.ValidString(out) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return out
}
