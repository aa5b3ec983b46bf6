package compose

import (
	"bufio"
	"io"
)

// crlfReader makes every line end in CRLF, as 8-bit content must on the wire. A
// lone CR is the end of a line to some servers and not to others, which is how one
// message is made to look like two.
type crlfReader struct {
	r    *bufio.Reader
	held bool // a CR was given for an LF that is still to come
}

// CRLF reads a message of somebody's with every line end, a lone CR among them, as
// CRLF.
func CRLF(r io.Reader) io.Reader { return &crlfReader{r: bufio.NewReader(r)} }

// Read implements io.Reader.
func (c *crlfReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if c.held {
			p[n], c.held = '\n', false
			n++
			continue
		}
		b, err := c.r.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		switch b {
		case '\r':
			if next, err := c.r.Peek(1); err == nil && next[0] == '\n' {
				_, _ = c.r.Discard(1)
			}
			c.held = true
		case '\n':
			b, c.held = '\r', true
		}
		p[n] = b
		n++
	}
	return n, nil
}

// fitsWire reports whether content can be written as it is: its lines, with whatever
// end, are not too long, and there is no NUL among them.
func fitsWire(r io.Reader) (bool, error) {
	buffered := bufio.NewReader(r)
	length := 0
	for {
		b, err := buffered.ReadByte()
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case b == '\r', b == '\n':
			length = 0
		case b == 0, length == maxPlainLine:
			return false, nil
		default:
			length++
		}
	}
}

// base64Line is the length of a line of base64 (RFC 2045 section 6.8).
const base64Line = 76

// lineWriter breaks what is written into lines.
type lineWriter struct {
	w      io.Writer
	column int
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(base64Line-l.column, len(p))
		if _, err := l.w.Write(p[:n]); err != nil {
			return written, err
		}
		written += n
		p = p[n:]
		if l.column += n; l.column == base64Line {
			if err := l.end(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// end ends the present line, unless it is empty.
func (l *lineWriter) end() error {
	if l.column == 0 {
		return nil
	}
	l.column = 0
	_, err := io.WriteString(l.w, "\r\n")
	return err
}
