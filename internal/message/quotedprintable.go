package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// quotedPrintableReader decodes line by line (RFC 2045 section 6.7). Lines
// that are longer than the buffer come in fragments.
type quotedPrintableReader struct {
	src   *bufio.Reader
	carry []byte // the beginning of an escape that a fragment has split
	whole []byte // carry and the rest of its line
	out   []byte // decoded, not yet read
	buf   []byte
	err   error
	found defects
}

func newQuotedPrintableReader(r io.Reader) *quotedPrintableReader {
	return &quotedPrintableReader{src: bufio.NewReaderSize(r, decodeBuffer)}
}

// Read implements [io.Reader].
func (r *quotedPrintableReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill(min(len(p), decodeBuffer))
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// fill decodes lines until there is enough for the reader, so that a short
// line does not cost a call.
func (r *quotedPrintableReader) fill(want int) {
	r.buf = r.buf[:0]
	for len(r.buf) < want && r.err == nil {
		if len(r.buf) > 0 && r.src.Buffered() == 0 {
			break // Give what is there rather than wait for more.
		}
		line, err := r.src.ReadSlice('\n')
		whole := !errors.Is(err, bufio.ErrBufferFull)
		if whole {
			r.err = err
		}
		if len(r.carry) > 0 {
			r.whole = append(append(r.whole[:0], r.carry...), line...)
			line, r.carry = r.whole, r.carry[:0]
		}
		if !whole {
			line = r.split(line)
		}
		r.line(line, whole)
	}
	r.out = r.buf
}

// split keeps back an escape at the end of a fragment.
func (r *quotedPrintableReader) split(line []byte) []byte {
	if i := bytes.LastIndexByte(line[max(len(line)-2, 0):], '='); i >= 0 {
		i += max(len(line)-2, 0)
		r.carry = append(r.carry[:0], line[i:]...)
		return line[:i]
	}
	return line
}

func (r *quotedPrintableReader) line(line []byte, whole bool) {
	end := []byte(nil)
	if whole {
		// Section 6.7 rule 3: blanks before the line end were added on the
		// way.
		text := bytes.TrimRight(line, " \t\r\n")
		switch {
		case bytes.HasSuffix(line, []byte("\r\n")):
			end = line[len(line)-2:]
		case bytes.HasSuffix(line, []byte("\n")):
			end = line[len(line)-1:]
		}
		line = text
		if bytes.HasSuffix(line, []byte("=")) {
			line, end = line[:len(line)-1], nil // Rule 5: a soft line break.
		}
	}
	for {
		i := bytes.IndexByte(line, '=')
		if i < 0 {
			break
		}
		r.buf = append(r.buf, line[:i]...)
		line = line[i:]
		if len(line) >= 3 && hexValue(line[1]) >= 0 && hexValue(line[2]) >= 0 {
			r.buf = append(r.buf, byte(hexValue(line[1])<<4|hexValue(line[2])))
			line = line[3:]
			continue
		}
		r.found.add(DefectQuotedPrintable)
		r.buf = append(r.buf, '=')
		line = line[1:]
	}
	r.buf = append(r.buf, line...)
	r.buf = append(r.buf, end...)
}
