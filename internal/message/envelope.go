package message

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// Envelope is what a message says about itself. Texts are decoded.
type Envelope struct {
	// Sender and ReplyTo are nil where they are the same as From.
	From, Sender, ReplyTo, To, Cc, Bcc []Address
	Subject                            string
	// MessageID, InReplyTo and References have no angle brackets. References
	// are not in an IMAP ENVELOPE.
	MessageID  string
	InReplyTo  []string
	References []string
	// Date is the zero time if the message has none that can be read.
	Date time.Time
}

// EnvelopeOf decodes an IMAP ENVELOPE, whose strings are as the server sent
// them.
func EnvelopeOf(env *imap.Envelope) (Envelope, []Defect) { return envelopeOf(env, "") }

// HasRaw8Bit tells whether texts of an ENVELOPE are in a charset that can only
// be guessed: with [FromEnvelope], which knows the charset of the body.
func HasRaw8Bit(env *imap.Envelope) bool {
	if !utf8.ValidString(env.Subject) {
		return true
	}
	for _, list := range [][]imap.Address{env.From, env.Sender, env.ReplyTo, env.To, env.Cc, env.Bcc} {
		if slices.ContainsFunc(list, func(a imap.Address) bool { return !utf8.ValidString(a.Name) }) {
			return true
		}
	}
	return false
}

// envelopeOf takes raw 8-bit text to be in the charset hint.
func envelopeOf(env *imap.Envelope, hint string) (Envelope, []Defect) {
	if env == nil {
		return Envelope{}, nil
	}
	var found defects
	e := Envelope{
		From:    addressesOf(env.From, hint, &found),
		Sender:  addressesOf(env.Sender, hint, &found),
		ReplyTo: addressesOf(env.ReplyTo, hint, &found),
		To:      addressesOf(env.To, hint, &found),
		Cc:      addressesOf(env.Cc, hint, &found),
		Bcc:     addressesOf(env.Bcc, hint, &found),
		Date:    obsoleteZone(env.Date),
	}
	e.dropRepeatedFrom()
	subject, d := decodeUnstructured(unfold([]byte(env.Subject)), hint)
	found.add(d...)
	e.Subject = subject
	e.MessageID = cleanMessageID(env.MessageID, &found)
	for _, id := range env.InReplyTo {
		ids, d := parseMessageIDs(ensureBrackets(id))
		found.add(d...)
		e.InReplyTo = append(e.InReplyTo, ids...)
	}
	return e, found
}

// dropRepeatedFrom undoes what RFC 9051 section 7.5.2 has servers do: repeat
// From where the header has no Sender or Reply-To. So a list, which is made of
// ENVELOPE, and a get, which is made of the header, agree.
func (e *Envelope) dropRepeatedFrom() {
	if slices.Equal(e.Sender, e.From) {
		e.Sender = nil
	}
	if slices.Equal(e.ReplyTo, e.From) {
		e.ReplyTo = nil
	}
}

// obsoleteZone sets right what net/mail and time.Parse make of the zones of
// RFC 5322 section 4.3: a name, and no offset.
func obsoleteZone(t time.Time) time.Time {
	name, offset := t.Zone()
	hours, known := zones[name]
	if offset != 0 || !known {
		return t
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.FixedZone(name, hours*3600))
}

// ensureBrackets puts back what the type imap.Envelope takes off, since a
// server may have sent anything.
func ensureBrackets(id string) string {
	if id == "" || id[0] == '<' {
		return id
	}
	return "<" + id + ">"
}

// Envelope gives what the header says about the message.
func (h Header) Envelope() (Envelope, []Defect) {
	var found defects
	list := func(name string) []Address {
		var all []Address
		for i := range h.Fields {
			if f := &h.Fields[i]; strings.EqualFold(f.Name, name) && len(all) < maxAddresses {
				// RFC 5322 allows one; a second To is read by everybody.
				addresses, d := parseAddressList(f.Raw, h.hint)
				found.add(d...)
				all = append(all, addresses...)
			}
		}
		return all
	}
	ids := func(name string) []string {
		ids, d := parseMessageIDs(h.raw(name))
		found.add(d...)
		return ids
	}
	e := Envelope{
		From: list("From"), Sender: list("Sender"), ReplyTo: list("Reply-To"),
		To: list("To"), Cc: list("Cc"), Bcc: list("Bcc"),
		Subject:    h.Get("Subject"),
		InReplyTo:  ids("In-Reply-To"),
		References: ids("References"),
	}
	e.dropRepeatedFrom()
	if id := ids("Message-ID"); len(id) > 0 {
		e.MessageID = id[0]
	}
	if raw := h.raw("Date"); raw != "" {
		date, ok := ParseDate(raw)
		if !ok {
			found.add(DefectDate)
		}
		e.Date = date
	}
	return e, found
}
