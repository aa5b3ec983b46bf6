package compose

import (
	"context"
	"io"
	"time"
)

// Message is a message to be written. What it has is checked by [Message.Check].
type Message struct {
	From    Address
	To      []Address
	Cc      []Address
	Bcc     []Address
	ReplyTo []Address
	Subject string
	// Text and HTML are the body in two forms. Where there is only HTML, text is
	// made of it.
	Text, HTML string
	// Headers are further fields.
	Headers []Header
	// Attachments are files, and pictures that the HTML shows.
	Attachments []Attachment
	// Invitation is a calendar object for those who get the message, nil for none.
	Invitation *Invitation

	// MessageID is the message's own, InReplyTo and References those of the
	// conversation, without angle brackets.
	MessageID             string
	InReplyTo, References []string
	Date                  time.Time
	// KeepBcc writes the Bcc field, as for a draft. What is sent must not have it.
	KeepBcc bool
}

// Address is a person's mail address: a display name, which may be empty, and an
// address such as ann@example.com, which may be international (RFC 6531).
type Address struct{ Name, Address string }

// Header is one field of the header.
type Header struct{ Name, Value string }

// Attachment is a part that carries a file.
type Attachment struct {
	// Filename may be empty.
	Filename string
	// ContentType is a media type with or without parameters; empty means that it
	// is found out by the name of the file.
	ContentType string
	// ContentID is what HTML refers to as cid:, without angle brackets.
	ContentID string
	// Inline parts are shown within the HTML, the others beside it.
	Inline bool
	// Open gives the content, once for each time that the message is written.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Invitation is a calendar object (RFC 6047) that mail programs offer to answer.
type Invitation struct {
	// Method is that of the object: REQUEST, CANCEL, REPLY and so on.
	Method string
	// Content is the object, from BEGIN:VCALENDAR on.
	Content string
}

// Info says what a written message is like.
type Info struct {
	// Size is its size in bytes.
	Size int64
	// EightBit says that its body has bytes beyond ASCII, UTF8 that its header has.
	EightBit, UTF8 bool
}
