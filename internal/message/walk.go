package message

import (
	"bytes"
	"io"
	"strconv"
)

// Message is a whole raw message, read by [Walk].
type Message struct {
	Header Header
	// Root is the tree of parts, as [FromBodyStructure] gives it.
	Root    *Part
	Defects []Defect
	// Size is the number of bytes read.
	Size int64
}

// WalkFunc is called for each part before its children. body is the part's
// content in its transfer encoding ([DecodePart] takes that off); it ends with
// the call, and what is not read of it is skipped. It is nil for a multipart.
// The body of a message/rfc822 may be read; then its parts are not visited.
//
// An error ends the walk, which returns it.
type WalkFunc func(p *Part, body io.Reader) error

// Walk reads a raw message to its end, in constant memory but for the headers
// and the tree, and in time linear in its length. fn may be nil if only the
// tree is wanted. A broken message is walked as far as it makes sense and
// never fails; the errors are those of r and of fn.
func Walk(r io.Reader, limits Limits, fn WalkFunc) (*Message, error) {
	w := walker{s: newScanner(r), limits: limits.withDefaults(), fn: fn}
	w.parts = w.limits.Parts
	m := &Message{}
	root, err := w.message("", 0, &m.Header)
	m.Root, m.Defects, m.Size = root, w.found, w.s.offset
	if err == nil {
		err = w.s.failed()
	}
	return m, err
}

// walker descends through the parts while its scanner goes through the bytes
// once.
type walker struct {
	s      *scanner
	limits Limits
	parts  int // how many more may be shown
	fn     WalkFunc
	found  defects
}

// message reads a header and a body. prefix is the number of the part that the
// message is, with a dot, or empty.
func (w *walker) message(prefix string, depth int, h *Header) (*Part, error) {
	*h = w.header()
	w.parts--
	p := w.describe(*h, "text/plain")
	p.Path = prefix + "1"
	if w.opens(p, depth) {
		// RFC 9051 section 6.4.5.1: see structureBuilder.body.
		p.Path = prefix + "TEXT"
		return p, w.multipart(p, prefix, depth)
	}
	return p, w.leaf(p, depth)
}

// part reads a part of a multipart.
func (w *walker) part(path, defaultType string, depth int) (*Part, error) {
	p := w.describe(w.header(), defaultType)
	p.Path = path
	if w.opens(p, depth) {
		return p, w.multipart(p, path+".", depth)
	}
	return p, w.leaf(p, depth)
}

// opens decides whether to look for parts in a part.
func (w *walker) opens(p *Part, depth int) bool {
	if !p.IsMultipart() {
		return false
	}
	switch {
	case p.Params["boundary"] == "":
		// What stands there is read by a person better than by nobody.
		w.found.add(DefectBoundaryMissing)
		p.Type = "text/plain"
		return false
	case depth >= w.limits.Depth:
		w.found.add(DefectTooDeep)
		return false
	}
	if !isIdentity(p.Encoding) {
		// RFC 2045 section 6.4 forbids it. What stands there is nearly always
		// not encoded at all, whatever the field says.
		w.found.add(DefectMultipartEncoded)
	}
	return true
}

func isIdentity(encoding string) bool {
	return encoding == "7bit" || encoding == "8bit" || encoding == "binary"
}

// multipart reads preamble, parts and epilogue (RFC 2046 section 5.1.1).
func (w *walker) multipart(p *Part, prefix string, depth int) error {
	p.Size = -1
	if w.fn != nil {
		if err := w.fn(p, nil); err != nil {
			return err
		}
	}
	level := w.s.push(p.Params["boundary"])
	defaultType := "text/plain"
	if p.Type == "multipart/digest" {
		defaultType = "message/rfc822" // RFC 2046 section 5.1.5.
	}
	preamble := w.preamble()
	if w.s.hit != level {
		w.found.add(DefectBoundaryMissing)
		w.s.pop()
		return w.onlyPreamble(p, prefix, preamble)
	}
	for n := 1; w.s.hit == level && !w.s.closing; n++ {
		w.s.resume()
		if w.parts <= 0 {
			w.found.add(DefectTooManyParts)
			w.s.skip()
			continue
		}
		w.parts--
		c, err := w.part(prefix+strconv.Itoa(n), defaultType, depth+1)
		p.Children = append(p.Children, c)
		if err != nil {
			return err
		}
	}
	closed := w.s.hit == level
	w.s.pop()
	if closed {
		w.s.resume()
		w.s.skip() // The epilogue.
	} else if len(p.Children) > 0 {
		w.found.add(DefectMultipartUnterminated)
	}
	return nil
}

// maxPreamble is how much of a preamble is kept, in case it is all there is.
const maxPreamble = 256 << 10

// preamble reads up to the first delimiter.
func (w *walker) preamble() []byte {
	var kept []byte
	for {
		chunk := w.s.chunk()
		if chunk == nil {
			return kept
		}
		kept = append(kept, chunk[:min(len(chunk), maxPreamble-len(kept))]...)
	}
}

// onlyPreamble makes a text of what a multipart holds in which no delimiter
// occurs. Nobody would read it otherwise, and a mailer that shows it lets its
// reader find what was lost.
func (w *walker) onlyPreamble(p *Part, prefix string, text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 || w.parts <= 0 {
		return nil
	}
	w.parts--
	c := &Part{Path: prefix + "1", Type: "text/plain", Encoding: "8bit", Size: int64(len(text))}
	p.Children = []*Part{c}
	if w.fn != nil {
		return w.fn(c, bytes.NewReader(text))
	}
	return nil
}

// leaf reads any other part.
func (w *walker) leaf(p *Part, depth int) error {
	start := w.s.offset
	body := &partBody{s: w.s}
	defer func() { body.s = nil }() // Late reads find the end.
	if w.fn != nil {
		if err := w.fn(p, body); err != nil {
			return err
		}
	}
	if !body.touched && w.opensMessage(p, depth) {
		var h Header
		child, err := w.message(p.Path+".", depth+1, &h)
		if err != nil {
			return err
		}
		e, found := h.Envelope()
		w.found.add(found...)
		p.Envelope, p.Children = &e, []*Part{child}
	}
	w.s.skip()
	p.Size = w.s.end - start
	return nil
}

func (w *walker) opensMessage(p *Part, depth int) bool {
	switch {
	case !p.IsMessage():
		return false
	case !isIdentity(p.Encoding):
		w.found.add(DefectMultipartEncoded)
	case depth >= w.limits.Depth:
		w.found.add(DefectTooDeep)
	case w.parts <= 0:
		w.found.add(DefectTooManyParts)
	default:
		return true
	}
	return false
}

func (w *walker) header() Header {
	block, found := w.s.header(w.limits.HeaderBytes)
	w.found.add(found...)
	return ParseHeader(block)
}

// describe makes a part of what its header says.
func (w *walker) describe(h Header, defaultType string) *Part {
	p := &Part{}
	d := description{
		contentType: parseValue(h.raw("Content-Type"), h.hint),
		disposition: parseValue(h.raw("Content-Disposition"), h.hint),
		encoding:    h.raw("Content-Transfer-Encoding"),
		id:          h.Get("Content-ID"),
		text:        h.raw("Content-Description"),
	}
	if d.contentType.text == "" {
		d.contentType.text = defaultType
	}
	w.found.add(h.Defects...)
	p.describe(d, h.hint, &w.found)
	return p
}

// partBody reads the content that the scanner is at.
type partBody struct {
	s       *scanner
	rest    []byte
	touched bool
}

// Read implements [io.Reader].
func (b *partBody) Read(p []byte) (int, error) {
	if b.s == nil {
		return 0, io.EOF
	}
	b.touched = true
	if len(b.rest) == 0 {
		if b.rest = b.s.chunk(); b.rest == nil {
			if err := b.s.failed(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
