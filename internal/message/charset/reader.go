package charset

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// sampleSize is how much of a stream decides about a charset that nobody
// declared. Later bytes that contradict it become U+FFFD.
const sampleSize = 64 << 10

// Reader reads a stream as valid UTF-8 without NULs, in constant memory.
type Reader struct {
	src     io.Reader
	outcome Outcome
}

// NewReader reads the beginning of r, settles on the charset as [Decode] does,
// and gives a Reader of the whole as UTF-8. An error of r shows in Read.
func NewReader(r io.Reader, label, hint string) *Reader {
	br := bufio.NewReaderSize(r, sampleSize)
	sample, err := br.Peek(sampleSize)
	c := choose(sample, errors.Is(err, io.EOF), label, hint)
	var dec transform.Transformer = transform.Nop
	if c.enc != nil {
		dec = c.enc.NewDecoder()
	} else if bytes.HasPrefix(sample, bomUTF8) {
		// Nothing else has been read, and the bytes are in the buffer.
		_, _ = br.Discard(len(bomUTF8))
	}
	out := &Reader{outcome: c.Outcome}
	out.src = transform.NewReader(br, transform.Chain(dec, &validator{invalid: &out.outcome.Invalid}))
	return out
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) { return r.src.Read(p) }

// Outcome tells how the bytes became text. Invalid is final only at the end.
func (r *Reader) Outcome() Outcome { return r.outcome }

// validator replaces what is not UTF-8, drops NULs and remembers whether there
// was anything to replace.
type validator struct{ invalid *bool }

// Reset implements [transform.Transformer].
func (v *validator) Reset() {}

// Transform implements [transform.Transformer].
func (v *validator) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if c := src[nSrc]; c < utf8.RuneSelf {
			if c != 0 {
				if nDst == len(dst) {
					return nDst, nSrc, transform.ErrShortDst
				}
				dst[nDst] = c
				nDst++
			}
			nSrc++
			continue
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		if r == utf8.RuneError {
			*v.invalid = true
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}
