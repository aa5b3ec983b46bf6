package imapwire

import (
	"io"
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Literal is a string of the server handed out as a reader, straight from the
// connection. It is valid until its Decoder goes on; what was not read by then
// is drained.
type Literal struct {
	d    *Decoder
	text strings.Reader // in place of d for a string that came in quotes
	size int64
	left int64
}

// closedLiteral in place of what is left tells a drained literal from one that
// was read to its end.
const closedLiteral = -1

var _ imap.LiteralReader = (*Literal)(nil)

// Size returns the number of bytes of the whole literal.
func (l *Literal) Size() int64 { return l.size }

// Read implements io.Reader. An end of the connection before the literal's is
// io.ErrUnexpectedEOF.
func (l *Literal) Read(p []byte) (int, error) {
	if l.d == nil {
		return l.text.Read(p)
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	if l.d.literal != l {
		return 0, errLiteralClosed
	}
	n, err := l.d.readLiteral(p[:min(int64(len(p)), l.left)])
	l.consumed(n)
	return n, err
}

// WriteTo implements io.WriterTo: io.Copy moves the bytes through the Decoder's
// own buffer and allocates nothing.
func (l *Literal) WriteTo(w io.Writer) (written int64, err error) {
	if l.d == nil {
		return l.text.WriteTo(w)
	}
	for l.left != 0 {
		if l.d.literal != l {
			return written, errLiteralClosed
		}
		if l.d.r == l.d.w {
			if err := l.d.fill(); err != nil {
				return written, err
			}
		}
		chunk := l.d.buf.window[l.d.r:min(int64(l.d.w), int64(l.d.r)+l.left)]
		n, err := w.Write(chunk)
		n = max(0, min(n, len(chunk)))
		l.d.r += n
		l.d.start += int64(n)
		l.consumed(n)
		written += int64(n)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (l *Literal) consumed(n int) {
	if l.left -= int64(n); l.left == 0 {
		l.d.literal = nil
	}
}

// readLiteral reads bytes that do not count as the response's. A large read
// goes past the window.
func (d *Decoder) readLiteral(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.r == d.w && len(p) >= windowSize {
		n, err := readSome(d.src, p)
		if n == 0 {
			return 0, d.readFailed(err)
		}
		return n, nil
	}
	if d.r == d.w {
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.buf.window[d.r:d.w])
	d.r += n
	d.start += int64(n)
	return n, nil
}

// openLiteral reads the announcement of a literal, "{n}" or "~{n}" with the line
// end after it, and makes the literal's bytes what comes next. It returns false
// in front of an atom that starts with a tilde.
func (d *Decoder) openLiteral() (bool, error) {
	c, err := d.peek()
	if err != nil {
		return false, err
	}
	if c == '~' { // literal8, RFC 9051 section 4.3
		if d.r+1 == d.w {
			if err := d.fill(); err != nil {
				return false, err
			}
		}
		if d.buf.window[d.r+1] != '{' {
			return false, nil
		}
		d.r++
	}
	if err := d.expect('{'); err != nil {
		return false, err
	}
	n, digits, err := d.digits()
	if err != nil {
		return false, err
	}
	if _, err := d.accept('+'); err != nil {
		return false, err
	}
	if digits == 0 {
		return false, d.syntaxError("the size of a literal")
	}
	if err := d.expect('}'); err != nil {
		return false, err
	}
	if _, err := d.accept('\r'); err != nil {
		return false, err
	}
	if err := d.expect('\n'); err != nil {
		return false, err
	}
	return true, d.beginLiteral(n)
}

// beginLiteral makes the next n bytes a literal.
func (d *Decoder) beginLiteral(n uint64) error {
	if n > uint64(d.limits.Stream) {
		d.err = d.limitError("Stream", d.limits.Stream)
		return d.err
	}
	size := int64(min(n, math.MaxInt64))
	if size > 0 {
		d.literal = &Literal{d: d, size: size, left: size}
	}
	return nil
}

// literalBytes reads the literal that was opened into memory. If it is too long
// for that, it stays open, to be drained.
func (d *Decoder) literalBytes() ([]byte, error) {
	d.buf.scratch = d.buf.scratch[:0]
	l := d.literal
	if l == nil {
		return nil, nil // {0}
	}
	if l.size > d.limits.String {
		return nil, d.limitError("String", d.limits.String)
	}
	for l.left > 0 {
		if d.r == d.w {
			if err := d.fill(); err != nil {
				return nil, err
			}
		}
		chunk := d.buf.window[d.r:min(int64(d.w), int64(d.r)+l.left)]
		d.buf.scratch = append(d.buf.scratch, chunk...)
		d.r += len(chunk)
		l.consumed(len(chunk))
	}
	return d.buf.scratch, nil
}

// drainLiteral skips what is left of an open literal.
func (d *Decoder) drainLiteral() error {
	if d.literal == nil {
		return nil
	}
	l := d.literal
	_, err := l.WriteTo(io.Discard)
	l.left = closedLiteral
	return err
}

// NStringReader reads a string as a stream, or nil for NIL. The reader is valid
// until the Decoder goes on.
func (d *Decoder) NStringReader() (*Literal, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c == '{' || c == '~' {
		isLiteral, err := d.openLiteral()
		if err != nil {
			return nil, err
		}
		if isLiteral && d.literal != nil {
			return d.literal, nil
		}
		if isLiteral {
			return new(Literal), nil
		}
	}
	s, ok, err := d.NString()
	if err != nil || !ok {
		return nil, err
	}
	l := &Literal{size: int64(len(s)), left: int64(len(s))}
	l.text.Reset(s)
	return l, nil
}
