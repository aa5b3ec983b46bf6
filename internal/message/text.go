package message

import (
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/message/charset"
)

// Text is readable text out of a part.
type Text struct {
	// Content is valid UTF-8 without NULs.
	Content string
	// Truncated says that there was more than the limit.
	Truncated bool
	// Charset is the one that the bytes were read in.
	Charset string
	Defects []Defect
}

// DecodeText reads r as text of the charset label, guessing where it says
// nothing or nonsense, and stops after limit bytes of UTF-8, at the end of a
// rune. The error is r's; the text up to it is given all the same.
func DecodeText(r io.Reader, label string, limit int) (Text, error) {
	cr := charset.NewReader(r, label, "")
	content, truncated, err := readLimited(cr, limit)
	o := cr.Outcome()
	var found defects
	found.addCharset(o)
	return Text{Content: content, Truncated: truncated, Charset: o.Charset, Defects: found}, err
}

// readLimited reads valid UTF-8 up to limit bytes.
func readLimited(r io.Reader, limit int) (string, bool, error) {
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(r, int64(limit)))
	text := strings.ToValidUTF8(b.String(), "") // The limit may split a rune.
	if err != nil || n < int64(limit) {
		return text, false, err
	}
	// A byte more decides whether something was cut.
	var one [1]byte
	_, err = io.ReadFull(r, one[:])
	if errors.Is(err, io.EOF) {
		return text, false, nil
	}
	return text, true, err
}

// ReadText reads the body of p, a text/plain part, from r: transfer encoding
// and charset decoded, flowed lines joined (RFC 3676), line ends "\n". limit is
// in bytes.
func ReadText(r io.Reader, p *Part, limit int) (Text, error) {
	body := DecodePart(r, p.Encoding)
	text, err := DecodeText(body, p.Charset(), limit)
	text.addDefects(body.Defects())
	text.Content = normaliseLines(text.Content)
	if strings.EqualFold(p.Params["format"], "flowed") {
		text.Content = unflow(text.Content, strings.EqualFold(p.Params["delsp"], "yes"))
	}
	return text, err
}

// ReadHTML reads the body of p, a text/html part, from r as it is, but for its
// transfer encoding and charset. limit is in bytes.
func ReadHTML(r io.Reader, p *Part, limit int) (Text, error) {
	body := DecodePart(r, p.Encoding)
	src, label := sniffHTML(body, p.Charset())
	text, err := DecodeText(src, label, limit)
	text.addDefects(body.Defects())
	return text, err
}

// ReadHTMLAsText reads the body of p, a text/html part, from r as plain text,
// for a message that has no text/plain part. limit is in bytes of text.
func ReadHTMLAsText(r io.Reader, p *Part, limit int) (Text, error) {
	body := DecodePart(r, p.Encoding)
	src, label := sniffHTML(body, p.Charset())
	cr := charset.NewReader(src, label, "")
	content, truncated, err := HTMLToText(cr, limit)
	text := Text{Content: content, Truncated: truncated, Charset: cr.Outcome().Charset}
	var found defects
	found.addCharset(cr.Outcome())
	text.addDefects(found)
	text.addDefects(body.Defects())
	return text, err
}

func (t *Text) addDefects(found []Defect) {
	all := defects(t.Defects)
	all.add(found...)
	t.Defects = all
}

// normaliseLines makes CRLF and lone CR into LF, which is what JSON's readers
// expect of text.
func normaliseLines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}
