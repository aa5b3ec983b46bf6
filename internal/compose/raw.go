package compose

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/message"
)

// Raw is a message that its sender has written.
type Raw struct {
	// From is the first author, Recipients are those of To, Cc and Bcc.
	From       Address
	Recipients []string
	Subject    string
	// MessageID is the message's own, or the one that it is given, without angle
	// brackets.
	MessageID string

	header, body []byte
}

// ReadRaw reads a message that is to be sent. A Message-ID and a date that are
// missing are added; newID gives the former for the author's address. It returns
// what is wrong with it, if anything.
func ReadRaw(raw []byte, now time.Time, newID func(from string) string) (*Raw, []Violation) {
	var wrong violations
	if bytes.IndexByte(raw, 0) >= 0 {
		wrong.add("raw", "it has a NUL")
		return nil, wrong
	}
	// First of all, so that what is a line to one server is a line here, too.
	raw, err := io.ReadAll(CRLF(bytes.NewReader(raw)))
	if err != nil {
		wrong.add("raw", "it cannot be read: %v", err)
		return nil, wrong
	}
	if line, length := longLine(raw); length > 0 {
		wrong.add("raw", "its line %d has %d bytes, and a line of mail at most %d: encode the text, in quoted-printable or base64", line, length, maxPlainLine)
		return nil, wrong
	}
	header, body := splitHeader(raw)
	parsed := message.ParseHeader(header)
	envelope, _ := parsed.Envelope()
	r := &Raw{Subject: envelope.Subject, MessageID: envelope.MessageID, body: body}
	if len(envelope.From) == 0 || envelope.From[0].Address == "" {
		wrong.add("raw", "it has no From")
		return nil, wrong
	}
	r.From = Address{Name: envelope.From[0].Name, Address: envelope.From[0].Address}
	for _, list := range [][]message.Address{envelope.To, envelope.Cc, envelope.Bcc} {
		for _, a := range list {
			if a.Address != "" {
				r.Recipients = append(r.Recipients, a.Address)
			}
		}
	}
	var out bytes.Buffer
	if r.MessageID == "" {
		r.MessageID = newID(r.From.Address)
		fmt.Fprintf(&out, "Message-ID: <%s>\r\n", r.MessageID)
	}
	if !parsed.Has("Date") {
		fmt.Fprintf(&out, "Date: %s\r\n", now.Format(time.RFC1123Z))
	}
	for _, field := range fieldsOf(header) {
		if !hidden(field) {
			out.Write(field)
		}
	}
	r.header = out.Bytes()
	return r, wrong
}

// longLine finds the first line that is longer than mail may have, and gives its number
// and length. Servers refuse it, or break it somewhere, and with it what signs the
// message.
func longLine(raw []byte) (number, length int) {
	for line := range bytes.Lines(raw) {
		number++
		if length := len(bytes.TrimRight(line, "\r\n")); length > maxPlainLine {
			return number, length
		}
	}
	return 0, 0
}

// splitHeader parts a message at its first empty line.
func splitHeader(raw []byte) (header, body []byte) {
	rest := raw
	for len(rest) > 0 {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return raw[:len(raw)-len(rest)], rest[len(line):]
		}
		rest = rest[len(line):]
	}
	return raw, nil
}

// fieldsOf parts a header into its fields, each with its lines.
func fieldsOf(header []byte) [][]byte {
	var fields [][]byte
	start, end := 0, 0
	for line := range bytes.Lines(header) {
		if end > start && line[0] != ' ' && line[0] != '\t' {
			fields = append(fields, header[start:end])
			start = end
		}
		end += len(line)
	}
	return append(fields, header[start:end])
}

// hidden reports whether a field is for the sender and the servers only.
func hidden(field []byte) bool {
	name, _, _ := bytes.Cut(field, []byte(":"))
	switch strings.ToLower(strings.TrimSpace(string(name))) {
	case "bcc", "resent-bcc", "return-path", "x-postern-draft-id":
		return true
	}
	return false
}

// Write writes the message, with CRLF at the end of each line.
func (r *Raw) Write(w io.Writer) (Info, error) {
	counted := &counter{w: w, header: true}
	for _, piece := range [][]byte{bytes.TrimRight(r.header, "\r\n"), []byte("\r\n\r\n"), r.body} {
		if _, err := counted.Write(piece); err != nil {
			return Info{}, err
		}
	}
	return counted.Info, nil
}
