package message

import (
	"bytes"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/message/charset"
)

// Field is one field of a header.
type Field struct {
	// Name is as written, "Message-ID" or "MESSAGE-ID".
	Name string
	// Raw is what stands behind the colon, unfolded, without blanks at either
	// end. It may hold any bytes.
	Raw string
	// Value is Raw with encoded words and raw 8-bit text decoded: valid UTF-8
	// without control characters.
	Value string
}

// Header is a header's fields in their order. Repeated fields stay repeated.
type Header struct {
	Fields []Field
	// Defects are those found while reading the fields, not in what they
	// mean.
	Defects []Defect

	hint string // the charset to try for raw 8-bit text
}

// maxFields bounds the fields of a header. Mail that has passed many servers has
// a hundred.
const maxFields = 5000

// ParseHeader reads a header block: the answer to BODY[HEADER] or the bytes up
// to the first empty line. It never fails; what is no field is skipped.
func ParseHeader(block []byte) Header {
	var h Header
	var found defects
	for field := range foldedLines(block) {
		name, raw, ok := splitField(field)
		if !ok {
			found.add(DefectHeaderGarbage)
			continue
		}
		if len(h.Fields) >= maxFields {
			found.add(DefectHeaderTruncated)
			break
		}
		h.Fields = append(h.Fields, Field{Name: name, Raw: raw})
	}
	h.hint = h.declaredCharset()
	for i := range h.Fields {
		f := &h.Fields[i]
		var d []Defect
		f.Value, d = decodeUnstructured(f.Raw, h.hint)
		found.add(d...)
	}
	if h.repeatsSingle() {
		found.add(DefectDuplicateField)
	}
	h.Defects = found
	return h
}

// Get is the decoded value of the first field of that name, or "".
func (h Header) Get(name string) string {
	if f := h.first(name); f != nil {
		return f.Value
	}
	return ""
}

// Has reports whether there is a field of that name.
func (h Header) Has(name string) bool { return h.first(name) != nil }

func (h Header) raw(name string) string {
	if f := h.first(name); f != nil {
		return f.Raw
	}
	return ""
}

// first prefers a field that says something over an empty one before it.
func (h Header) first(name string) *Field {
	var empty *Field
	for i := range h.Fields {
		if f := &h.Fields[i]; strings.EqualFold(f.Name, name) {
			if f.Raw != "" {
				return f
			}
			if empty == nil {
				empty = f
			}
		}
	}
	return empty
}

// declaredCharset is what raw 8-bit text in this header is probably written
// in: the charset of the body.
func (h Header) declaredCharset() string {
	ct := h.raw("Content-Type")
	if ct == "" {
		return ""
	}
	v := parseValue(ct, "")
	if label := v.params["charset"]; charset.Known(label) {
		return label
	}
	return ""
}

// singles are the fields that RFC 5322 section 3.6 and RFC 2045 allow once.
var singles = []string{
	"Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Disposition",
}

func (h Header) repeatsSingle() bool {
	seen := make([]bool, len(singles))
	for i := range h.Fields {
		name := h.Fields[i].Name
		at := slices.IndexFunc(singles, func(single string) bool { return strings.EqualFold(single, name) })
		if at < 0 {
			continue
		}
		if seen[at] {
			return true
		}
		seen[at] = true
	}
	return false
}

// foldedLines yields each line together with its continuation lines (RFC 5322
// section 2.2.3) up to the empty line. Line ends may be CRLF, LF or CR alone.
func foldedLines(block []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(block) > 0 {
			end := 0
			for {
				n := lineLength(block[end:])
				if end == 0 && len(bytes.TrimRight(block[:n], "\r\n")) == 0 {
					return // The empty line.
				}
				end += n
				if end >= len(block) || block[end] != ' ' && block[end] != '\t' {
					break
				}
			}
			if !yield(block[:end]) {
				return
			}
			block = block[end:]
		}
	}
}

// lineLength is the length of the first line with its end.
func lineLength(b []byte) int {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return len(b)
	case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
		return i + 2
	}
	return i + 1
}

// splitField splits at the colon and unfolds. RFC 5322 section 4.5: blanks
// before the colon are an obsolete form that must be read.
func splitField(line []byte) (name, raw string, ok bool) {
	before, after, found := bytes.Cut(line, []byte(":"))
	if !found {
		return "", "", false
	}
	before = bytes.TrimRight(before, " \t")
	if len(before) == 0 {
		return "", "", false
	}
	for _, c := range before {
		if c <= ' ' || c >= 0x7F {
			return "", "", false
		}
	}
	return string(before), unfold(after), true
}

// unfold joins the lines of a field. RFC 5322 section 2.2.3: only the line
// end goes, the blanks after it stay.
func unfold(value []byte) string {
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return string(value)
	}
	var b strings.Builder
	b.Grow(len(value))
	for _, c := range value {
		if c != '\r' && c != '\n' {
			b.WriteByte(c)
		}
	}
	return b.String()
}
