package message

import (
	"errors"
	"io"
)

// decodeBuffer is what a decoder reads at a time: large enough that the
// overhead of a read does not show, small enough for many downloads at once.
const decodeBuffer = 32 << 10

// base64Shifted[i] holds the value of each character, moved to the place of
// the ith of four, so that three ORs decode a group. A character that is not
// of the alphabet sets base64Bad.
var base64Shifted = func() (t [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		for c := range t[i] {
			t[i][c] = base64Bad
		}
		for v, c := range []byte(alphabet) {
			t[i][c] = uint32(v) << (18 - 6*i)
		}
	}
	return t
}()

const base64Bad = 1 << 31

// base64State decodes piece by piece. It does not mind what encoding/base64
// refuses: line ends of any length, other characters between, padding that is
// missing or in the middle, where mailers have put encoded blocks one behind
// the other.
type base64State struct {
	group uint32 // the sextets of an unfinished group
	n     int    // how many
	// padded says that the last group ended in padding, so that what follows
	// may not be base64 at all.
	padded bool
	// ended says that it is not: mailing lists append their footers as plain
	// text.
	ended bool
	junk  bool
}

// decode decodes as much of src as dst has room for and tells how much of
// either that was. dst must have room for three bytes.
func (s *base64State) decode(dst, src []byte) (nDst, nSrc int) {
	for nSrc < len(src) && len(dst)-nDst >= 3 {
		if s.ended {
			return nDst, len(src)
		}
		if s.n == 0 && !s.padded {
			d, n := decodeGroups(dst[nDst:], src[nSrc:])
			nDst += d
			nSrc += n
			if nSrc == len(src) || len(dst)-nDst < 3 {
				break
			}
		}
		nDst += s.char(dst[nDst:], src[nSrc])
		nSrc++
	}
	return nDst, nSrc
}

// decodeGroups decodes whole groups up to the first other character.
func decodeGroups(dst, src []byte) (nDst, nSrc int) {
	t0, t1, t2, t3 := &base64Shifted[0], &base64Shifted[1], &base64Shifted[2], &base64Shifted[3]
	for len(src) >= 4 && len(dst) >= 3 {
		v := t0[src[0]] | t1[src[1]] | t2[src[2]] | t3[src[3]]
		if v >= base64Bad {
			break
		}
		dst[0], dst[1], dst[2] = byte(v>>16), byte(v>>8), byte(v)
		dst, src = dst[3:], src[4:]
		nDst += 3
		nSrc += 4
	}
	return nDst, nSrc
}

// char takes one character and gives the number of bytes written.
func (s *base64State) char(dst []byte, c byte) int {
	switch v := base64Shifted[3][c]; {
	case v != base64Bad:
		s.junk = s.junk || s.padded // Data behind padding.
		s.padded = false
		s.group = s.group<<6 | v
		if s.n++; s.n < 4 {
			return 0
		}
		v = s.group
		s.group, s.n = 0, 0
		dst[0], dst[1], dst[2] = byte(v>>16), byte(v>>8), byte(v)
		return 3
	case c == '=':
		s.junk = s.junk || s.n == 1
		s.padded = true
		return s.flush(dst)
	case c == '\r', c == '\n', c == ' ', c == '\t':
	default:
		s.junk = true
		s.ended = s.padded
	}
	return 0
}

// flush writes what an unfinished group holds: one byte of two characters,
// two of three.
func (s *base64State) flush(dst []byte) int {
	n := max(s.n-1, 0)
	group := s.group << (6 * (4 - s.n))
	for i := range n {
		dst[i] = byte(group >> (16 - 8*i))
	}
	s.group, s.n = 0, 0
	return n
}

// end is flush for the end of the input, where padding is due.
func (s *base64State) end(dst []byte) int {
	s.junk = s.junk || s.n != 0
	return s.flush(dst)
}

// base64Reader decodes a stream.
type base64Reader struct {
	src   io.Reader
	state base64State
	in    []byte // what of buf is not decoded yet
	buf   []byte
	out   []byte // decoded bytes that a small Read has left
	small [3]byte
	err   error
	found defects
}

func newBase64Reader(r io.Reader) *base64Reader {
	return &base64Reader{src: r, buf: make([]byte, decodeBuffer)}
}

// Read implements [io.Reader].
func (r *base64Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if len(r.out) > 0 {
			n := copy(p, r.out)
			r.out = r.out[n:]
			return n, nil
		}
		if len(r.in) == 0 && r.err != nil {
			return 0, r.err
		}
		dst := p
		if len(dst) < len(r.small) {
			dst = r.small[:]
		}
		n := r.fill(dst)
		if len(p) < len(r.small) {
			r.out = r.small[:n]
		} else if n > 0 {
			return n, nil
		}
	}
}

// fill decodes once what there is, after a read if there is nothing.
func (r *base64Reader) fill(dst []byte) int {
	if len(r.in) == 0 {
		n, err := r.src.Read(r.buf)
		r.in, r.err = r.buf[:n], err
	}
	n, used := r.state.decode(dst, r.in)
	r.in = r.in[used:]
	if errors.Is(r.err, io.EOF) && len(r.in) == 0 && len(dst)-n >= len(r.small) {
		n += r.state.end(dst[n:])
	}
	if r.state.junk {
		r.found.add(DefectBase64)
	}
	return n
}

// decodeBase64Text decodes a short text. clean says that it kept to the rules.
func decodeBase64Text(text string) (decoded []byte, clean bool) {
	var s base64State
	dst := make([]byte, len(text)/4*3+6)
	n, _ := s.decode(dst, []byte(text))
	n += s.end(dst[n:])
	return dst[:n], !s.junk
}
