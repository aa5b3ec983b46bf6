package imapwire

import (
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// Response is the head of a response. Exactly one of these holds:
//
//   - Tag is set: the completion of a command; Status is set.
//   - Continuation is true: Text is what follows the "+".
//   - Name and Status are set: an untagged OK, NO, BAD, PREAUTH or BYE.
//   - Name alone is set: data, whose payload is yet to be read, or skipped.
type Response struct {
	// Tag is the tag of the command that is complete, as it was sent.
	Tag string
	// Continuation says that the server wants the next part of a command.
	Continuation bool
	// Name is the response's name in upper case, such as "FETCH" or "OK".
	Name string
	// Num is the number before the name, as in "* 12 FETCH".
	Num uint32
	// Status is the whole of a status response.
	Status *Status
	// Text is the text of a continuation request.
	Text string
}

// Status is a status response: OK, NO, BAD, PREAUTH or BYE (RFC 9051 section 7.1).
type Status struct {
	Type imap.StatusResponseType
	// Code is the response code in upper case, or empty.
	Code imap.ResponseCode
	// Arg is what the code carries, as it came. The methods of Status read it.
	Arg string
	// Text is for people. It is valid UTF-8.
	Text string
}

// Next reads the head of the next response; what is left of the one before is
// skipped. Blank lines and NUL bytes before it are skipped too. After a
// *SyntaxError Next goes on with the line after. A time-out before the first
// byte leaves the Decoder usable, as Wait does.
func (d *Decoder) Next() (Response, error) {
	if err := d.Finish(); err != nil {
		return Response{}, err
	}
	if err := d.begin(); err != nil {
		return Response{}, err
	}
	head, err := d.span(&inHead)
	if err != nil {
		return Response{}, err
	}
	switch {
	case len(head) == 1 && head[0] == '*':
		return d.untagged()
	case len(head) > 0 && head[0] == '+':
		// "+OK" without a space has been seen; base64 has no plus in front.
		rest := string(head[1:])
		text, err := d.text()
		return Response{Continuation: true, Text: strings.TrimSpace(rest + " " + text)}, err
	default:
		return d.tagged(string(head))
	}
}

// begin waits for the first byte of a response.
func (d *Decoder) begin() error {
	d.name, d.depth, d.elements = "", 0, 0
	d.start = d.pos + int64(d.r)
	for {
		if err := d.wait(); err != nil {
			return err
		}
		if d.buf.window[d.r] > ' ' {
			break
		}
		d.r++
		if d.pos+int64(d.r)-d.start > d.limits.Response {
			d.err = d.limitError("Response", d.limits.Response)
			return d.err
		}
	}
	d.start = d.pos + int64(d.r)
	d.inLine = true
	return nil
}

func (d *Decoder) untagged() (Response, error) {
	var r Response
	c, err := d.next()
	if err != nil {
		return r, err
	}
	if isDigit(c) {
		if r.Num, err = d.Number(); err != nil {
			return r, err
		}
		if _, err := d.next(); err != nil {
			return r, err
		}
	}
	if r.Name, err = d.responseName(); err != nil {
		return r, err
	}
	switch imap.StatusResponseType(r.Name) {
	case imap.StatusResponseTypeOK, imap.StatusResponseTypeNo, imap.StatusResponseTypeBad,
		imap.StatusResponseTypePreAuth, imap.StatusResponseTypeBye:
		r.Status, err = d.status(imap.StatusResponseType(r.Name))
	}
	return r, err
}

func (d *Decoder) tagged(tag string) (Response, error) {
	r := Response{Tag: tag}
	if _, err := d.next(); err != nil {
		return Response{}, err
	}
	name, err := d.responseName()
	if err != nil {
		return Response{}, err
	}
	switch typ := imap.StatusResponseType(name); typ {
	case imap.StatusResponseTypeOK, imap.StatusResponseTypeNo, imap.StatusResponseTypeBad:
		r.Status, err = d.status(typ)
		return r, err
	}
	return Response{}, &SyntaxError{Want: "a response", Got: "a line without meaning"}
}

func (d *Decoder) responseName() (string, error) {
	b, err := d.span(&inName)
	if err != nil {
		return "", err
	}
	if len(b) == 0 {
		return "", d.syntaxError("the name of a response")
	}
	d.name = d.upper(b)
	return d.name, nil
}

// upper returns b in upper case.
func (d *Decoder) upper(b []byte) string {
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			return strings.ToUpper(string(b))
		}
	}
	return d.string(b)
}

func (d *Decoder) status(typ imap.StatusResponseType) (*Status, error) {
	text, err := d.text()
	if err != nil {
		return nil, err
	}
	s := &Status{Type: typ}
	s.Code, s.Arg, text = splitCode(text)
	s.Text = validText(text)
	return s, nil
}

// text reads the rest of the line, and the line's end. What exceeds the limit is
// cut off: that a command is complete matters more than what is said about it.
func (d *Decoder) text() (string, error) {
	if d.literal != nil {
		return "", errLiteralOpen
	}
	b, err := d.span(&inText)
	if err != nil && d.err != nil {
		return "", err
	}
	s := strings.Trim(string(b), " \t\r\x00")
	d.r++ // the line feed at which span stopped
	d.inLine = false
	return s, nil
}

// validText makes UTF-8 of text in no known charset.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return latin(s)
}
