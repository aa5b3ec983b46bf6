package imapwire

import (
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// envelope reads an ENVELOPE (RFC 9051 section 7.5.2), or nil for NIL. Fields
// may be missing at its end, and a field may be of the wrong shape: it is then
// empty. A date or a word that cannot be decoded is no reason to fail. Fields
// that do not belong there are: strings with stray quotes have come apart.
func (d *Decoder) envelope() (*imap.Envelope, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c != '(' {
		return nil, d.emptyField()
	}
	if err := d.openList(); err != nil {
		return nil, err
	}
	e := new(imap.Envelope)
	for i := 0; ; i++ {
		if closed, err := d.closeList(); err != nil || closed {
			return e, err
		}
		if err := d.envelopeField(e, i); err != nil {
			return nil, err
		}
	}
}

func (d *Decoder) envelopeField(e *imap.Envelope, i int) (err error) {
	var s string
	switch i {
	case 0:
		s, err = d.field()
		e.Date = parseDate(s)
	case 1:
		s, err = d.field()
		e.Subject = d.decodeText(s)
	case 2:
		e.From, err = d.addresses()
	case 3:
		e.Sender, err = d.addresses()
	case 4:
		e.ReplyTo, err = d.addresses()
	case 5:
		e.To, err = d.addresses()
	case 6:
		e.Cc, err = d.addresses()
	case 7:
		e.Bcc, err = d.addresses()
	case 8:
		s, err = d.field()
		e.InReplyTo = messageIDs(s)
	case 9:
		s, err = d.field()
		if ids := messageIDs(s); len(ids) > 0 {
			e.MessageID = ids[0]
		}
	default:
		err = d.syntaxError("the end of the envelope")
	}
	return err
}

// emptyField reads NIL or "" in place of a list.
func (d *Decoder) emptyField() error {
	s, _, err := d.NString()
	if err == nil && s != "" {
		err = &SyntaxError{Response: d.name, Want: "a list", Got: "a string"}
	}
	return err
}

// field reads a string that may be NIL. A list in its place is skipped.
func (d *Decoder) field() (string, error) {
	c, err := d.next()
	if err != nil {
		return "", err
	}
	if c == '(' {
		return "", d.SkipValue()
	}
	s, _, err := d.NString()
	return s, err
}

// addresses reads a list of addresses, NIL or "". A single address that lacks
// the list around it is accepted.
func (d *Decoder) addresses() ([]imap.Address, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c != '(' {
		return nil, d.emptyField()
	}
	if err := d.openList(); err != nil {
		return nil, err
	}
	if c, err = d.next(); err != nil {
		return nil, err
	}
	if c != '(' && c != ')' {
		a, err := d.addressFields()
		return []imap.Address{a}, err
	}
	var list []imap.Address
	err = d.members(func() error {
		if c, err := d.next(); err != nil || c != '(' {
			if err != nil {
				return err
			}
			return d.emptyField()
		}
		if err := d.openList(); err != nil {
			return err
		}
		a, err := d.addressFields()
		list = append(list, a)
		return err
	})
	return list, err
}

// addressFields reads the members of an address: name, route, mailbox, host.
func (d *Decoder) addressFields() (a imap.Address, err error) {
	for i := 0; ; i++ {
		if closed, err := d.closeList(); err != nil || closed {
			return a, err
		}
		s, err := d.field()
		if err != nil {
			return a, err
		}
		switch i {
		case 0:
			a.Name = d.decodeText(s)
		case 2:
			a.Mailbox = validText(s)
		case 3:
			a.Host = validText(s)
		case 4:
			return a, d.syntaxError("the end of the address")
		}
	}
}

// parseDate reads a Date header; a broken one is the zero time.
func parseDate(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	// Nearly all dates are of this form, and ParseDate tries many others first.
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", s); err == nil {
		return t
	}
	if t, err := mail.ParseDate(s); err == nil {
		return t
	}
	s = strings.Join(strings.Fields(s), " ")
	for _, layout := range [...]string{
		"Mon, 2 Jan 2006 15:04:05",       // without a zone
		"2 Jan 2006 15:04:05",            // nor a weekday
		"Mon, 2 Jan 2006 15:04:05 -0700", // with spaces that ParseDate minds
		"Mon Jan 2 15:04:05 2006",        // asctime
		"Mon Jan 2 15:04:05 MST 2006",    // date(1)
		time.RFC3339,
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// messageIDs returns the message ids of a header, without angle brackets. If
// there are no brackets, each word is one.
func messageIDs(s string) []string {
	var ids []string
	s = validText(s)
	for rest := s; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		id, after, ok := strings.Cut(after, ">")
		if !ok {
			break
		}
		if id = strings.Join(strings.Fields(id), ""); id != "" {
			ids = append(ids, id)
		}
		rest = after
	}
	if ids == nil {
		for word := range strings.FieldsSeq(s) {
			if word = strings.Trim(word, "<>"); strings.Contains(word, "@") {
				ids = append(ids, word)
			}
		}
	}
	return ids
}
