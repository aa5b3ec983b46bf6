package imapwire

import (
	"io"
	"math"
	"strconv"
)

// Decoder reads the responses of an IMAP server. It is not safe for concurrent
// use. Between responses, and after Release, it holds a few bytes only.
type Decoder struct {
	// UTF8 says that UTF8=ACCEPT or IMAP4rev2 is enabled, so mailbox names are
	// not in modified UTF-7 (RFC 6855 section 3, RFC 9051 section 5.1).
	UTF8 bool
	// DecodeText turns header text with RFC 2047 words, or in no known charset,
	// into UTF-8. It must not fail. If nil, the function DecodeText does it.
	DecodeText func(raw string) string

	src    io.Reader
	limits Limits
	err    error // final

	buf   *buffer // nil while there is nothing to read
	r, w  int     // the unread part of buf.window
	first [64]byte

	pos   int64 // stream offset of the window's start
	start int64 // offset of the response's start, moved on by streamed bytes

	inLine   bool     // the response's line end has not been read
	literal  *Literal // the literal whose bytes come next
	name     string   // the response being read
	depth    int      // lists open
	elements int      // list members so far in this response
	doubt    doubt    // what was odd about the strings of this item
}

// NewDecoder returns a Decoder of what r delivers.
func NewDecoder(r io.Reader, limits Limits) *Decoder {
	return &Decoder{src: r, limits: limits.withDefaults()}
}

// Reset makes the Decoder read from r, as after STARTTLS and COMPRESS. What is
// buffered is dropped: see Buffered and TakeBuffered.
func (d *Decoder) Reset(r io.Reader) {
	d.src = r
	d.err = nil
	d.r = d.w
	d.inLine, d.literal = false, nil
}

// Err returns the error that ended the stream, or nil as long as Next can go on.
func (d *Decoder) Err() error { return d.err }

func (d *Decoder) syntaxError(want string) error {
	if d.err != nil {
		return d.err
	}
	c, err := d.peek()
	if err != nil {
		return err
	}
	got := "the line's end"
	if c != '\r' && c != '\n' {
		got = strconv.QuoteRuneToASCII(rune(c))
	}
	return &SyntaxError{Response: d.name, Want: want, Got: got}
}

func (d *Decoder) limitError(limit string, max int64) error {
	return &LimitError{Response: d.name, Limit: limit, Max: max}
}

// peek returns the next byte without consuming it.
func (d *Decoder) peek() (byte, error) {
	if d.r == d.w {
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	return d.buf.window[d.r], nil
}

// next skips spaces and returns the byte at which the next token starts. One
// space is due between tokens, none after "(" and before ")"; servers send two
// and none.
func (d *Decoder) next() (byte, error) {
	if d.literal != nil {
		return 0, errLiteralOpen
	}
	for {
		for ; d.r < d.w; d.r++ {
			if c := d.buf.window[d.r]; c != ' ' && c != '\t' {
				return c, nil
			}
		}
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
}

// accept consumes the next token if it is the single byte want.
func (d *Decoder) accept(want byte) (bool, error) {
	c, err := d.next()
	if err != nil || c != want {
		return false, err
	}
	d.r++
	return true, nil
}

func (d *Decoder) expect(want byte) error {
	ok, err := d.accept(want)
	if err == nil && !ok {
		err = d.syntaxError(strconv.QuoteRuneToASCII(rune(want)))
	}
	return err
}

// span consumes bytes as long as they are of the class and returns them. They
// are valid until the next read. Too many of them are consumed all the same, so
// that what follows is still seen for what it is; with the LimitError come those
// that the limit allows.
func (d *Decoder) span(class *byteClass) ([]byte, error) {
	if _, err := d.peek(); err != nil {
		return nil, err
	}
	d.buf.scratch = d.buf.scratch[:0]
	for {
		i := d.r
		for i < d.w && class[d.buf.window[i]] {
			i++
		}
		chunk := d.buf.window[d.r:i]
		d.r = i
		if i < d.w && len(d.buf.scratch) == 0 {
			return d.bounded(chunk)
		}
		d.store(chunk)
		if i < d.w {
			return d.bounded(d.buf.scratch)
		}
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
}

// store adds to the scratch space, up to one byte more than is allowed, so that
// bounded objects.
func (d *Decoder) store(b []byte) {
	room := d.limits.String + 1 - int64(len(d.buf.scratch))
	d.buf.scratch = append(d.buf.scratch, b[:min(int64(len(b)), room)]...)
}

func (d *Decoder) bounded(b []byte) ([]byte, error) {
	if int64(len(b)) > d.limits.String {
		return b[:d.limits.String], d.limitError("String", d.limits.String)
	}
	return b, nil
}

// atomBytes reads an atom. The bytes are valid until the next read.
func (d *Decoder) atomBytes() ([]byte, error) {
	if _, err := d.next(); err != nil {
		return nil, err
	}
	return d.atomHere()
}

// atomHere reads the atom at which the Decoder stands.
func (d *Decoder) atomHere() ([]byte, error) {
	b, err := d.span(&inAtom)
	if err == nil && len(b) == 0 {
		err = d.syntaxError("an atom")
	}
	return b, err
}

// Atom reads an atom.
func (d *Decoder) Atom() (string, error) {
	b, err := d.atomBytes()
	return d.string(b), err
}

// AString reads an atom, a quoted string or a literal.
func (d *Decoder) AString() (string, error) {
	b, _, err := d.stringBytes()
	return d.string(b), err
}

// NString reads a string that may be NIL, which it returns as ok = false. An
// atom in its place is taken for the string that the server forgot to quote.
func (d *Decoder) NString() (s string, ok bool, err error) {
	c, err := d.next()
	switch {
	case err != nil:
		return "", false, err
	case c == 'N' && d.takeNIL():
		return "", false, nil
	}
	b, isAtom, err := d.stringBytes()
	if err != nil || isAtom && isNIL(b) {
		return "", false, err
	}
	return d.string(b), true, nil
}

// string returns what was read as a string that stays.
func (d *Decoder) string(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return d.buf.recent.string(b)
}

// takeNIL consumes the NIL at which the Decoder stands, if it is one and in the
// window as a whole. It is a short cut for the most frequent of all values.
func (d *Decoder) takeNIL() bool {
	b := d.buf.window[d.r:d.w]
	if len(b) < 4 || b[1] != 'I' || b[2] != 'L' || inAtom[b[3]] {
		return false
	}
	d.r += 3
	return true
}

func isNIL(b []byte) bool {
	return len(b) == 3 && b[0]|0x20 == 'n' && b[1]|0x20 == 'i' && b[2]|0x20 == 'l'
}

// stringBytes reads a string in any of its forms. The bytes are valid until the
// next read.
func (d *Decoder) stringBytes() (b []byte, isAtom bool, err error) {
	c, err := d.next()
	if err != nil {
		return nil, false, err
	}
	switch {
	case c == '"':
		b, err = d.quotedBytes()
		return b, false, err
	case c == '{' || c == '~':
		isLiteral, err := d.openLiteral()
		if err != nil {
			return nil, false, err
		}
		if isLiteral {
			b, err = d.literalBytes()
			return b, false, err
		}
	}
	b, err = d.atomHere()
	if err == nil && !isNIL(b) {
		d.doubt.bare = true
	}
	return b, true, err
}

// doubt gathers what is odd about strings. A quote whose meaning was guessed,
// or a word without quotes, each have been seen by themselves. Both in one item
// mean that quotes were guessed wrong and strings came apart.
type doubt struct {
	quote bool // a quote that was not escaped
	bare  bool // an atom in place of a string
}

func (d *Decoder) doubtful() error {
	if d.doubt.quote && d.doubt.bare {
		return &SyntaxError{Response: d.name, Want: "quotes in strings to be escaped"}
	}
	return nil
}

// number reads digits, saturating at the largest uint64. A number in quotes is
// taken too; one with letters behind it is none.
func (d *Decoder) number() (uint64, error) {
	quoted, err := d.accept('"')
	if err != nil {
		return 0, err
	}
	n, digits, err := d.digits()
	if err != nil {
		return 0, err
	}
	c, err := d.peek()
	if err != nil {
		return 0, err
	}
	if digits == 0 || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
		return 0, d.syntaxError("a number")
	}
	if quoted {
		return n, d.expect('"')
	}
	return n, nil
}

// digits reads any number of digits from where the Decoder stands.
func (d *Decoder) digits() (n uint64, count int, err error) {
	for {
		c, err := d.peek()
		if err != nil || !isDigit(c) {
			return n, count, err
		}
		d.r++
		count++
		v := uint64(c - '0')
		if n > (math.MaxUint64-v)/10 {
			n = math.MaxUint64
		} else {
			n = n*10 + v
		}
	}
}

// Number64 reads a number. One above 2^63-1 becomes that, for 63 bits is what
// RFC 9051 gives the largest of its numbers.
func (d *Decoder) Number64() (int64, error) {
	n, err := d.number()
	return int64(min(n, math.MaxInt64)), err
}

// Number reads a number of 32 bits; a larger one is a SyntaxError, since
// message numbers and UIDs cannot be rounded.
func (d *Decoder) Number() (uint32, error) {
	n, err := d.number()
	if err == nil && n > math.MaxUint32 {
		return 0, &SyntaxError{Response: d.name, Want: "a number of 32 bits", Got: strconv.FormatUint(n, 10)}
	}
	return uint32(n), err
}
