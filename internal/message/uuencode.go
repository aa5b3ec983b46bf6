package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// uuencodeReader decodes the file between "begin" and "end". If there is no
// "begin" near the beginning, the bytes are taken as they are.
type uuencodeReader struct {
	src   *bufio.Reader
	begun bool
	plain bool
	ended bool
	out   []byte
	buf   [64]byte
	err   error
	found defects
}

func newUuencodeReader(r io.Reader) *uuencodeReader {
	return &uuencodeReader{src: bufio.NewReaderSize(r, decodeBuffer)}
}

// Read implements [io.Reader].
func (r *uuencodeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !r.begun {
		r.begin()
	}
	if r.plain {
		return r.src.Read(p)
	}
	n := 0
	for n < len(p) {
		if len(r.out) == 0 {
			if r.err != nil || n > 0 && r.src.Buffered() == 0 {
				break
			}
			r.next()
			continue
		}
		c := copy(p[n:], r.out)
		r.out = r.out[c:]
		n += c
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// begin finds the line "begin 644 name", before which there may be text.
func (r *uuencodeReader) begin() {
	r.begun = true
	head, _ := r.src.Peek(decodeBuffer)
	start := 0
	if !bytes.HasPrefix(head, []byte("begin ")) {
		start = bytes.Index(head, []byte("\nbegin ")) + 1
	}
	if start == 0 && !bytes.HasPrefix(head, []byte("begin ")) {
		r.plain = true
		r.found.add(DefectUuencode)
		return
	}
	end := bytes.IndexByte(head[start:], '\n')
	if end < 0 {
		end = len(head) - start - 1
	}
	_, _ = r.src.Discard(start + end + 1) // It is in the buffer.
}

// next decodes a line: its length, then groups of four characters.
func (r *uuencodeReader) next() {
	line, err := r.src.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.found.add(DefectUuencode)
		return
	}
	r.err = err
	line = bytes.TrimRight(line, "\r\n")
	switch {
	case r.ended:
		return
	case err == io.EOF && len(line) == 0:
		r.found.add(DefectUuencode)
		return
	case bytes.Equal(line, []byte("end")):
		r.ended = true
		return
	case len(line) == 0:
		return
	case line[0] < ' ' || line[0] > '`':
		r.found.add(DefectUuencode)
		return
	}
	want := int(line[0]-' ') & 0x3F
	r.out = r.line(line[1:], want)
}

func (r *uuencodeReader) line(line []byte, want int) []byte {
	out := r.buf[:0]
	for len(out) < want {
		// Blanks at the end of a line get lost on the way; they are zeros.
		var v uint32
		for i := range 4 {
			c := byte(' ')
			if i < len(line) {
				c = line[i]
			}
			v = v<<6 | uint32(c-' ')&0x3F
		}
		out = append(out, byte(v>>16), byte(v>>8), byte(v))
		line = line[min(4, len(line)):]
	}
	return out[:want]
}
