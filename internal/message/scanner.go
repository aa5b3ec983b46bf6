package message

import (
	"bytes"
	"errors"
	"io"
)

const (
	scanBuffer = 64 << 10
	// maxBoundary is how much of a boundary counts. RFC 2046 section 5.1.1
	// allows 70 characters.
	maxBoundary = 1000
)

// scanner goes through a message once and cuts it at the delimiters of the
// multiparts that are open. Content comes in pieces of its buffer; the line
// end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
type scanner struct {
	src       io.Reader
	buf       []byte
	r, w      int   // what is read and not consumed
	offset    int64 // of buf[r] in the message
	lineStart bool  // buf[r] begins a line
	err       error // of src; io.EOF at the end

	boundaries []string // of the open multiparts, the innermost last
	hit        int      // whose delimiter has been found, or -1
	closing    bool     // it is the closing one
	end        int64    // offset of the end of the content before it
}

func newScanner(r io.Reader) *scanner {
	return &scanner{src: r, buf: make([]byte, scanBuffer), lineStart: true, hit: -1}
}

// push opens a multipart and gives its level.
func (s *scanner) push(boundary string) int {
	s.boundaries = append(s.boundaries, boundary[:min(len(boundary), maxBoundary)])
	return len(s.boundaries) - 1
}

// pop closes the innermost multipart.
func (s *scanner) pop() { s.boundaries = s.boundaries[:len(s.boundaries)-1] }

// need tries to have n bytes in the buffer and tells how many there are.
func (s *scanner) need(n int) int {
	for s.w-s.r < n && s.err == nil {
		if s.r > 0 && len(s.buf)-s.r < n || s.r == s.w {
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		}
		s.fill()
	}
	return s.w - s.r
}

// maxEmptyReads is how often a reader may give nothing (as in bufio).
const maxEmptyReads = 100

func (s *scanner) fill() {
	for range maxEmptyReads {
		n, err := s.src.Read(s.buf[s.w:])
		s.w += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

func (s *scanner) consume(n int) []byte {
	piece := s.buf[s.r : s.r+n]
	s.r += n
	s.offset += int64(n)
	if n > 0 {
		s.lineStart = piece[n-1] == '\n'
	}
	return piece
}

// lookahead is what a delimiter can need: line end, dashes, boundary, dashes.
const lookahead = 2 + 2 + maxBoundary + 2

// chunk gives the next piece of content, which is valid until the next call,
// or nil at a delimiter or at the end of the message.
func (s *scanner) chunk() []byte {
	if s.hit >= 0 {
		return nil
	}
	have := s.need(1)
	if have == 0 {
		s.end = s.offset
		return nil
	}
	if len(s.boundaries) == 0 {
		return s.consume(have)
	}
	if s.delimiterNext() {
		return nil
	}
	// Something stands here that is no delimiter. Take all up to the next line
	// that could be one.
	window := s.buf[s.r:s.w]
	for from := 1; ; {
		i := bytes.Index(window[from-1:], []byte("\n--"))
		if i < 0 {
			break
		}
		i += from - 1
		cut := i
		if i > 0 && window[i-1] == '\r' {
			cut--
		}
		complete := len(window)-cut >= lookahead || s.err != nil
		if level, _ := s.match(window[i+3:]); cut > 0 && (!complete || level >= 0) {
			return s.consume(cut)
		}
		// At the very beginning delimiterNext has looked already.
		from = i + 2
	}
	if s.err != nil {
		return s.consume(len(window))
	}
	return s.consume(max(len(window)-partialDelimiter(window), 1))
}

// partialDelimiter is how many bytes at the end may begin a delimiter.
func partialDelimiter(b []byte) int {
	for _, tail := range []string{"\r\n-", "\n-", "\r\n", "\n", "\r"} {
		if bytes.HasSuffix(b, []byte(tail)) {
			return len(tail)
		}
	}
	return 0
}

// delimiterNext looks for a delimiter right here, behind a line end or at the
// beginning of a line.
func (s *scanner) delimiterNext() bool {
	if c := s.buf[s.r]; c != '\r' && c != '\n' && (c != '-' || !s.lineStart) {
		return false
	}
	s.need(lookahead)
	b := s.buf[s.r:s.w]
	if s.lineStart && bytes.HasPrefix(b, []byte("--")) {
		s.hit, s.closing = s.match(b[2:])
		s.end = s.offset
		return s.hit >= 0
	}
	b = bytes.TrimPrefix(b, []byte("\r"))
	if !bytes.HasPrefix(b, []byte("\n--")) {
		return false
	}
	if s.hit, s.closing = s.match(b[3:]); s.hit < 0 {
		return false
	}
	s.end = s.offset
	s.consume(s.w - s.r - len(b) + 1) // The line end.
	return true
}

// match compares what stands behind the dashes with the open boundaries. RFC
// 2046 section 5.1.1: it is enough that the line begins with the boundary. If
// several fit, the longest counts, and of equal ones the innermost.
func (s *scanner) match(b []byte) (level int, closing bool) {
	level = -1
	for i := len(s.boundaries) - 1; i >= 0; i-- {
		boundary := s.boundaries[i]
		if (level < 0 || len(boundary) > len(s.boundaries[level])) && len(b) >= len(boundary) && string(b[:len(boundary)]) == boundary {
			level = i
		}
	}
	if level < 0 {
		return -1, false
	}
	return level, bytes.HasPrefix(b[len(s.boundaries[level]):], []byte("--"))
}

// skip goes on to the next delimiter or the end.
func (s *scanner) skip() {
	for {
		if s.chunk() == nil {
			return
		}
	}
}

// resume goes behind the delimiter line that was found.
func (s *scanner) resume() {
	s.hit = -1
	for s.need(1) > 0 {
		if i := bytes.IndexByte(s.buf[s.r:s.w], '\n'); i >= 0 {
			s.consume(i + 1)
			return
		}
		s.consume(s.w - s.r)
	}
}

// header reads up to the empty line, a delimiter or the end, and keeps limit
// bytes of it.
func (s *scanner) header(limit int) (block []byte, found defects) {
	for s.need(1) > 0 {
		start := s.lineStart
		if start && len(s.boundaries) > 0 && s.buf[s.r] == '-' && s.delimiterNext() {
			found.add(DefectHeaderUnterminated)
			return block, found
		}
		if start {
			s.need(len("\r\n"))
		}
		window := s.buf[s.r:s.w]
		end := bytes.IndexByte(window, '\n') + 1
		if end == 0 {
			end = len(window)
		}
		line := s.consume(end)
		if start && (string(line) == "\n" || string(line) == "\r\n") {
			return block, found
		}
		if len(block)+len(line) > limit {
			found.add(DefectHeaderTruncated)
			line = line[:max(limit-len(block), 0)]
		}
		block = append(block, line...)
	}
	s.end = s.offset
	found.add(DefectHeaderUnterminated)
	return block, found
}

// failed is the error that ended the reading, or nil at the regular end.
func (s *scanner) failed() error {
	if s.err == nil || errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}
