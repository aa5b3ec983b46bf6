package imapwire

import (
	"slices"
	"strings"

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
	r := envelopeReader{d: d, e: new(imap.Envelope)}
	for i := 0; ; i++ {
		if closed, err := d.closeList(); err != nil || closed {
			return r.e, err
		}
		if err := r.field(i); err != nil {
			return nil, err
		}
	}
}

// envelopeReader reads one ENVELOPE.
type envelopeReader struct {
	d *Decoder
	e *imap.Envelope
	// raw and name are the name decoded last, before and after. Where the header
	// has no Sender and no Reply-To, servers repeat From in their place, which is
	// nearly always (RFC 9051 section 7.5.2).
	raw, name string
}

func (r *envelopeReader) field(i int) (err error) {
	d, e := r.d, r.e
	var s string
	switch i {
	case 0:
		s, err = d.field()
		e.Date = parseDate(s)
	case 1:
		s, err = d.field()
		e.Subject = d.decodeText(s)
	case 2:
		e.From, err = r.addresses()
	case 3:
		e.Sender, err = r.addresses()
	case 4:
		e.ReplyTo, err = r.addresses()
	case 5:
		e.To, err = r.addresses()
	case 6:
		e.Cc, err = r.addresses()
	case 7:
		e.Bcc, err = r.addresses()
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

// maxAddresses bounds what is kept of a list: a page of messages with ten
// thousands each would be gigabytes. Whoever needs all of them reads the header.
const maxAddresses = 1000

// addresses reads a list of addresses, NIL or "". A single address that lacks
// the list around it is accepted.
func (r *envelopeReader) addresses() ([]imap.Address, error) {
	d := r.d
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
		a, err := r.address()
		return []imap.Address{a}, err
	}
	var few [4]imap.Address
	list := few[:0]
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
		a, err := r.address()
		if len(list) < maxAddresses {
			list = append(list, a)
		}
		return err
	})
	if slices.Equal(list, r.e.From) { // Sender and Reply-To, and nothing at all
		return r.e.From, err
	}
	return append([]imap.Address(nil), list...), err
}

// address reads the members of an address: name, route, mailbox, host.
func (r *envelopeReader) address() (a imap.Address, err error) {
	d := r.d
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
			if s != r.raw {
				r.raw, r.name = s, d.decodeText(s)
			}
			a.Name = r.name
		case 2:
			a.Mailbox = validText(s)
		case 3:
			a.Host = validText(s)
		case 4:
			return a, d.syntaxError("the end of the address")
		}
	}
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
		if strings.ContainsAny(id, " \t\r\n") {
			id = strings.Join(strings.Fields(id), "")
		}
		if id != "" {
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
