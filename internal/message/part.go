package message

import "strings"

// Disposition says how a part wants to be shown (RFC 2183).
type Disposition string

// Dispositions. Anything else in a header counts as an attachment, as RFC 2183
// section 2.8 has it.
const (
	DispositionNone       Disposition = ""
	DispositionInline     Disposition = "inline"
	DispositionAttachment Disposition = "attachment"
)

// Part is one node of a message's MIME tree, whether it was read from a
// BODYSTRUCTURE or from the message. Texts are decoded and valid UTF-8.
type Part struct {
	// Path is what IMAP calls the part, fit for BODY[…] (RFC 9051 section
	// 6.4.5): "1", "2.3". A multipart that is a whole message's body has no
	// number: it is "TEXT", or "2.TEXT" within the message that is part 2.
	Path string
	// Type is the media type in lower case, "text/plain".
	Type string
	// Params are the parameters of the Content-Type, names in lower case.
	Params map[string]string
	// Encoding is the transfer encoding in lower case; "7bit" by default.
	Encoding string
	// Size is the number of octets in the transfer encoding. -1 is unknown.
	Size int64
	// ContentID has no angle brackets.
	ContentID   string
	Description string
	Disposition Disposition
	// Filename is the last element of the name that the sender gave, or "".
	Filename string
	// Children are the parts of a multipart, or the one body of a
	// message/rfc822.
	Children []*Part
	// Envelope is that of the message within a message/rfc822.
	Envelope *Envelope
}

// IsMultipart reports whether the part is a multipart.
func (p *Part) IsMultipart() bool { return strings.HasPrefix(p.Type, "multipart/") }

// IsMessage reports whether the part is a whole message (RFC 2046 section
// 5.2.1, RFC 6532 section 3.7).
func (p *Part) IsMessage() bool { return p.Type == "message/rfc822" || p.Type == "message/global" }

// Charset is the declared charset, or "".
func (p *Part) Charset() string { return p.Params["charset"] }

// Find gives the part with that path, or nil.
func (p *Part) Find(path string) *Part {
	if p == nil || p.Path == path {
		return p
	}
	for _, c := range p.Children {
		if found := c.Find(path); found != nil {
			return found
		}
	}
	return nil
}

// Kind is what a part is for, beyond its media type.
type Kind string

// Kinds of part.
const (
	KindOther          Kind = ""
	KindText           Kind = "TEXT"
	KindHTML           Kind = "HTML"
	KindMessage        Kind = "MESSAGE"         // a forwarded or attached message
	KindCalendar       Kind = "CALENDAR"        // RFC 5545, RFC 6047
	KindDeliveryStatus Kind = "DELIVERY_STATUS" // RFC 3464
	KindDisposition    Kind = "DISPOSITION"     // a read receipt, RFC 8098
	KindFeedback       Kind = "FEEDBACK"        // an abuse report, RFC 5965
	KindHeaders        Kind = "HEADERS"         // those of a returned message, RFC 6522
	KindSignature      Kind = "SIGNATURE"       // S/MIME (RFC 8551) or OpenPGP (RFC 3156)
	KindEncrypted      Kind = "ENCRYPTED"       // S/MIME or OpenPGP
	KindTNEF           Kind = "TNEF"            // winmail.dat
)

var kinds = map[string]Kind{
	"text/plain":                              KindText,
	"text/html":                               KindHTML,
	"message/rfc822":                          KindMessage,
	"message/global":                          KindMessage,
	"text/calendar":                           KindCalendar,
	"application/ics":                         KindCalendar,
	"message/delivery-status":                 KindDeliveryStatus,
	"message/global-delivery-status":          KindDeliveryStatus,
	"message/disposition-notification":        KindDisposition,
	"message/global-disposition-notification": KindDisposition,
	"message/feedback-report":                 KindFeedback,
	"text/rfc822-headers":                     KindHeaders,
	"message/global-headers":                  KindHeaders,
	"application/pgp-signature":               KindSignature,
	"application/pkcs7-signature":             KindSignature,
	"application/x-pkcs7-signature":           KindSignature,
	"application/pgp-encrypted":               KindEncrypted,
	"multipart/encrypted":                     KindEncrypted,
	"application/pkcs7-mime":                  KindEncrypted,
	"application/x-pkcs7-mime":                KindEncrypted,
	"application/ms-tnef":                     KindTNEF,
	"application/vnd.ms-tnef":                 KindTNEF,
}

// Kind tells what the part is for.
func (p *Part) Kind() Kind {
	k := kinds[p.Type]
	if k == KindEncrypted && strings.EqualFold(p.Params["smime-type"], "signed-data") {
		return KindSignature // Opaque signing (RFC 8551 section 3.5.2).
	}
	return k
}

// description is what the fields of a part's header say, as the header or a
// BODYSTRUCTURE has them.
type description struct {
	contentType value
	disposition value
	encoding    string
	id          string
	text        string
}

// describe fills in all but the place of the part.
func (p *Part) describe(d description, hint string, found *defects) {
	p.Type = mediaType(d.contentType.text, found)
	p.Params = d.contentType.params
	p.Encoding = encodingName(d.encoding)
	found.add(d.contentType.found...)
	found.add(d.disposition.found...)
	switch {
	case d.disposition.text == "inline":
		p.Disposition = DispositionInline
	case d.disposition.text != "":
		p.Disposition = DispositionAttachment
	}
	p.Filename = cleanFilename(d.disposition.params["filename"])
	if p.Filename == "" {
		p.Filename = cleanFilename(p.Params["name"])
	}
	p.ContentID = strings.Trim(cleanText(d.id), "<> ")
	text, f := decodeUnstructured(d.text, hint)
	found.add(f...)
	p.Description = text
}

// mediaType checks the form of a type. RFC 2045 section 5.2: what cannot be
// understood is text/plain.
func mediaType(s string, found *defects) string {
	if s == "" {
		return "text/plain"
	}
	t, sub, ok := strings.Cut(s, "/")
	t, sub = strings.TrimSpace(t), strings.TrimSpace(sub)
	if i := strings.IndexAny(sub, " \t,"); i >= 0 {
		sub = sub[:i]
		found.add(DefectContentType)
	}
	if !ok || !isToken(t) || !isToken(sub) {
		found.add(DefectContentType)
		if t == "multipart" {
			return "multipart/mixed"
		}
		return "text/plain"
	}
	return t + "/" + sub
}

func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7F || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

// encodingName is the transfer encoding without what mailers add to it.
func encodingName(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(s), ";")
	s, _, _ = strings.Cut(s, "(")
	s = strings.Trim(s, " \t\r\n\"'.,")
	if s == "" {
		return "7bit"
	}
	return cleanText(s)
}
