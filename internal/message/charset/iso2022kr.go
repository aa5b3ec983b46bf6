package charset

import (
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"
)

// iso2022KR reads ISO-2022-KR (RFC 1557): EUC-KR with the high bit taken off
// between SO and SI.
type iso2022KR struct{}

// NewDecoder implements [encoding.Encoding].
func (iso2022KR) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(new(shiftOut), korean.EUCKR.NewDecoder())}
}

// NewEncoder implements [encoding.Encoding].
func (iso2022KR) NewEncoder() *encoding.Encoder { return encoding.Nop.NewEncoder() }

// shiftOut sets the high bit between SO and SI and drops the designator.
type shiftOut struct{ out bool }

const (
	shiftOutByte = 0x0E
	shiftInByte  = 0x0F
	escapeByte   = 0x1B
)

// Reset implements [transform.Transformer].
func (s *shiftOut) Reset() { s.out = false }

// Transform implements [transform.Transformer].
func (s *shiftOut) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	const designator = "\x1b$)C"
	for nSrc < len(src) {
		c := src[nSrc]
		switch {
		case c == shiftOutByte, c == shiftInByte:
			s.out = c == shiftOutByte
			nSrc++
			continue
		case c == escapeByte && len(src)-nSrc < len(designator) && !atEOF:
			return nDst, nSrc, transform.ErrShortSrc
		case c == escapeByte && len(src)-nSrc >= len(designator) && string(src[nSrc:nSrc+len(designator)]) == designator:
			nSrc += len(designator)
			continue
		case c == '\n':
			s.out = false // RFC 1557 section 2: a line ends in ASCII.
		case s.out && c > ' ' && c < 0x7F:
			c |= 0x80
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		dst[nDst] = c
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}
