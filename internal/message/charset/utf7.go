package charset

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// utf7Encoding reads UTF-7 (RFC 2152), which golang.org/x/text leaves out
// because browsers must not read it. Mail of the nineties and some gateways
// still carry it. There is nothing here to write it.
type utf7Encoding struct{}

// NewDecoder implements [encoding.Encoding].
func (utf7Encoding) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: new(utf7Decoder)}
}

// NewEncoder implements [encoding.Encoding].
func (utf7Encoding) NewEncoder() *encoding.Encoder { return encoding.Nop.NewEncoder() }

// utf7Decoder is outside or inside a run of modified base64.
type utf7Decoder struct {
	inside bool
	empty  bool   // nothing of the run has been read: "+-" is "+"
	bits   uint32 // not yet a UTF-16 unit
	n      uint   // how many of bits are valid
	high   uint16 // a high surrogate that waits for the low one
}

// Reset implements [transform.Transformer].
func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

// Transform implements [transform.Transformer]. Each byte of input gives at
// most a replacement character and a rune.
func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		nSrc++
		nDst += d.put(dst[nDst:], c)
	}
	if atEOF && d.high != 0 {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		d.high = 0
		nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
	}
	return nDst, nSrc, nil
}

func (d *utf7Decoder) put(dst []byte, c byte) int {
	switch {
	case !d.inside && c == '+':
		*d = utf7Decoder{inside: true, empty: true}
		return 0
	case !d.inside && c >= utf8.RuneSelf:
		return utf8.EncodeRune(dst, utf8.RuneError)
	case !d.inside:
		dst[0] = c
		return 1
	}
	if v := base64Value(c); v >= 0 {
		d.empty = false
		return d.sextet(dst, uint32(v))
	}
	return d.leave(dst, c)
}

// leave ends a run. RFC 2152: a "-" that ends it is swallowed, and "+-" is a
// plus sign.
func (d *utf7Decoder) leave(dst []byte, c byte) int {
	n := 0
	if d.high != 0 {
		n += utf8.EncodeRune(dst, utf8.RuneError)
	}
	plus := d.empty && c == '-'
	*d = utf7Decoder{}
	switch {
	case plus:
		dst[n] = '+'
		return n + 1
	case c == '-':
		return n
	case c >= utf8.RuneSelf:
		return n + utf8.EncodeRune(dst[n:], utf8.RuneError)
	}
	dst[n] = c
	return n + 1
}

func (d *utf7Decoder) sextet(dst []byte, v uint32) int {
	d.bits = d.bits<<6 | v
	d.n += 6
	if d.n < 16 {
		return 0
	}
	d.n -= 16
	unit := uint16(d.bits >> d.n)
	d.bits &= 1<<d.n - 1
	n := 0
	if d.high != 0 {
		high := d.high
		d.high = 0
		if r := utf16.DecodeRune(rune(high), rune(unit)); r != utf8.RuneError {
			return utf8.EncodeRune(dst, r)
		}
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	if unit >= 0xD800 && unit < 0xDC00 {
		d.high = unit
		return n
	}
	return n + utf8.EncodeRune(dst[n:], rune(unit)) // A lone low surrogate becomes U+FFFD.
}

func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return -1
}
