package compose

import (
	"fmt"
	"mime"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what a message has.
const (
	// MaxRecipients bounds To, Cc and Bcc together. RFC 5321 section 4.5.3.1.8 makes
	// servers take 100; few take more than 500.
	MaxRecipients = 500
	// MaxBody bounds Text and HTML, each, in bytes.
	MaxBody = 10 << 20
	// maxName bounds display and file names, maxSubject the subject, maxValue the
	// value of another field, in bytes.
	maxName    = 500
	maxFile    = 255
	maxSubject = 2000
	maxValue   = 8000
	// maxWord bounds what has no space in it, since it cannot be folded: a line
	// has at most 998 bytes (RFC 5322 section 2.1.1).
	maxWord        = 900
	maxHeaders     = 100
	maxAttachments = 200
	maxReferences  = 100
)

// Violation says what is wrong with a part of a message.
type Violation struct {
	// Field is the path of what is wrong: "to[1].address".
	Field string
	// Description says what is wrong, for people.
	Description string
}

// violations gathers what is wrong.
type violations []Violation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, Violation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// Check returns what is wrong with a message, nothing if it can be written.
func (m *Message) Check() []Violation {
	var v violations
	v.address("from", m.From)
	for _, list := range m.lists() {
		for i, address := range list.addresses {
			v.address(fmt.Sprintf("%s[%d]", list.field, i), address)
		}
	}
	if n := len(m.To) + len(m.Cc) + len(m.Bcc); n > MaxRecipients {
		v.add("to", "there are %d recipients, and at most %d are taken", n, MaxRecipients)
	}
	v.line("subject", m.Subject, maxSubject)
	v.body("text", m.Text)
	v.body("html", m.HTML)
	v.headers(m.Headers)
	v.attachments(m.Attachments)
	if m.Invitation != nil {
		v.invitation(m.Invitation)
	}
	v.ids("message_id", []string{m.MessageID})
	v.ids("in_reply_to", m.InReplyTo)
	v.ids("references", m.References)
	return v
}

// list is one of the address fields.
type list struct {
	field, header string
	addresses     []Address
}

func (m *Message) lists() []list {
	return []list{
		{"to", "To", m.To},
		{"cc", "Cc", m.Cc},
		{"bcc", "Bcc", m.Bcc},
		{"reply_to", "Reply-To", m.ReplyTo},
	}
}

func (v *violations) address(field string, a Address) {
	if _, _, err := Wire(a.Address); err != nil {
		v.add(field+".address", "%s", err)
	}
	v.line(field+".name", a.Name, maxName)
}

// line checks text that goes into a field of the header.
func (v *violations) line(field, text string, limit int) {
	switch {
	case len(text) > limit:
		v.add(field, "it has %d bytes, and at most %d are taken", len(text), limit)
	case !utf8.ValidString(text):
		v.add(field, "it is not UTF-8")
	case strings.ContainsFunc(text, isControl):
		v.add(field, "it has a line break or another control character")
	case isASCII(text) && slices.ContainsFunc(strings.FieldsFunc(text, isBlank), func(word string) bool { return len(word) > maxWord }):
		v.add(field, "it has a word of more than %d characters", maxWord)
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

func (v *violations) body(field, text string) {
	switch {
	case len(text) > MaxBody:
		v.add(field, "it has %d bytes, and at most %d are taken", len(text), MaxBody)
	case !utf8.ValidString(text):
		v.add(field, "it is not UTF-8")
	case strings.ContainsRune(text, 0):
		v.add(field, "it has a NUL")
	}
}

// ours are the fields that the message's structure makes; Bcc and those of the
// transport are not for the sender to write.
var ours = []string{
	"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
	"mime-version", "return-path", "received", "dkim-signature", "x-postern-draft-id",
}

// IsFree reports whether a field may be one of a message's Headers, and is not made
// of something else that the message has.
func IsFree(name string) bool {
	lower := strings.ToLower(name)
	return fieldName.MatchString(name) && !slices.Contains(ours, lower) &&
		!strings.HasPrefix(lower, "content-") && !strings.HasPrefix(lower, "resent-")
}

// IsID reports whether text may be the identifier of a message, without angle
// brackets.
func IsID(text string) bool { return messageID.MatchString(text) }

// fieldName is the name of a field (RFC 5322 section 3.6.8). go-message panics where the
// name leaves no room for the value in a line of 76 characters.
var fieldName = regexp.MustCompile(`^[!-9;-~]{1,60}$`)

func (v *violations) headers(headers []Header) {
	if len(headers) > maxHeaders {
		v.add("headers", "there are %d, and at most %d are taken", len(headers), maxHeaders)
		return
	}
	for i, h := range headers {
		field := fmt.Sprintf("headers[%d]", i)
		switch {
		case !fieldName.MatchString(h.Name):
			v.add(field+".name", "%q is not the name of a header", h.Name)
		case !IsFree(h.Name):
			v.add(field+".name", "%s is made from other fields of the request, or by mail servers", h.Name)
		}
		v.line(field+".value", h.Value, maxValue)
	}
}

func (v *violations) attachments(attachments []Attachment) {
	if len(attachments) > maxAttachments {
		v.add("attachments", "there are %d, and at most %d are taken", len(attachments), maxAttachments)
		return
	}
	for i := range attachments {
		v.attachment(fmt.Sprintf("attachments[%d]", i), &attachments[i])
	}
}

func (v *violations) attachment(field string, a *Attachment) {
	v.line(field+".filename", a.Filename, maxFile)
	v.ids(field+".content_id", []string{a.ContentID})
	mediaType, _, err := mime.ParseMediaType(a.MediaType())
	switch {
	case err != nil || !strings.Contains(mediaType, "/"):
		v.add(field+".content_type", "%q is not a media type", a.ContentType)
	case strings.HasPrefix(mediaType, "multipart/"):
		v.add(field+".content_type", "a part of %s is made of parts", mediaType)
	}
}

// Check returns what is wrong with an attachment, in terms of a field that has it.
func (a *Attachment) Check(field string) []Violation {
	var v violations
	v.attachment(field, a)
	return v
}

var method = regexp.MustCompile(`^[A-Za-z-]{1,32}$`)

func (v *violations) invitation(i *Invitation) {
	if !method.MatchString(i.Method) {
		v.add("calendar.method", "%q is not a method such as REQUEST", i.Method)
	}
	v.body("calendar.content", i.Content)
	if !strings.HasPrefix(strings.ToUpper(strings.TrimSpace(i.Content)), "BEGIN:VCALENDAR") {
		v.add("calendar.content", "it does not begin with BEGIN:VCALENDAR")
	}
}

// messageID is what stands between angle brackets (RFC 5322 section 3.6.4), as far
// as it cannot break out of them.
var messageID = regexp.MustCompile(`^[!-;=?-~]{1,900}$`)

func (v *violations) ids(field string, ids []string) {
	if len(ids) > maxReferences {
		v.add(field, "there are %d, and at most %d are taken", len(ids), maxReferences)
		return
	}
	for _, id := range ids {
		if id != "" && !messageID.MatchString(id) {
			v.add(field, "%q is not an identifier", id)
		}
	}
}
