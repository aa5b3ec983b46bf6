package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// bodyStructure reads a BODYSTRUCTURE, or a BODY, which is one without extension
// data (RFC 9051 section 7.5.2). Each level of it opens a list, so the limit on
// lists bounds the recursion. Fields may be missing at its end, more may follow.
func (d *Decoder) bodyStructure() (imap.BodyStructure, error) {
	if err := d.openList(); err != nil {
		return nil, err
	}
	if err := d.countElement(); err != nil {
		return nil, err
	}
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c == '(' || c == ')' {
		return d.multiPart()
	}
	first, err := d.field()
	if err != nil {
		return nil, err
	}
	if c, err = d.next(); err != nil {
		return nil, err
	}
	if c == '(' || c == ')' {
		// Gmail, of a multipart without parts: ("mixed" ("boundary" "x") NIL NIL).
		m := &imap.BodyStructureMultiPart{Subtype: validText(first)}
		return m, d.multiPartExt(m)
	}
	return d.singlePart(first)
}

// multiPart reads the parts, and all after them, in an open list.
func (d *Decoder) multiPart() (*imap.BodyStructureMultiPart, error) {
	m := new(imap.BodyStructureMultiPart)
	for {
		c, err := d.next()
		if err != nil {
			return nil, err
		}
		if c != '(' {
			break
		}
		child, err := d.bodyStructure()
		if err != nil {
			return nil, err
		}
		m.Children = append(m.Children, child)
	}
	if closed, err := d.closeList(); err != nil || closed {
		return m, err
	}
	subtype, err := d.field()
	if err != nil {
		return nil, err
	}
	m.Subtype = validText(subtype)
	return m, d.multiPartExt(m)
}

func (d *Decoder) multiPartExt(m *imap.BodyStructureMultiPart) error {
	for i := 0; ; i++ {
		if closed, err := d.closeList(); err != nil || closed {
			return err
		}
		if m.Extended == nil {
			m.Extended = new(imap.BodyStructureMultiPartExt)
		}
		var err error
		switch x := m.Extended; i {
		case 0:
			x.Params, err = d.params()
		case 1:
			x.Disposition, err = d.disposition()
		case 2:
			x.Language, err = d.languages()
		case 3:
			x.Location, err = d.textField()
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
}

// singlePart reads what follows the type of a part that is not multipart.
func (d *Decoder) singlePart(typ string) (*imap.BodyStructureSinglePart, error) {
	// An encoding should be there; NIL is seen for the default of RFC 2045.
	p := &imap.BodyStructureSinglePart{Type: validText(typ), Encoding: "7bit"}
	for i := range 6 {
		if closed, err := d.closeList(); err != nil || closed {
			return p, err
		}
		if err := d.singlePartField(p, i); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case strings.EqualFold(p.Type, "text"):
		err = d.textLines(p)
	case isMessagePart(p):
		return p, d.messagePart(p)
	}
	if err != nil {
		return nil, err
	}
	return p, d.singlePartExt(p, 0)
}

// isMessagePart reports whether the part holds a message whose structure follows
// (RFC 9051 section 7.5.2; message/global is RFC 6532's).
func isMessagePart(p *imap.BodyStructureSinglePart) bool {
	return strings.EqualFold(p.Type, "message") &&
		(strings.EqualFold(p.Subtype, "rfc822") || strings.EqualFold(p.Subtype, "global"))
}

func (d *Decoder) singlePartField(p *imap.BodyStructureSinglePart, i int) (err error) {
	var s string
	switch i {
	case 0:
		p.Subtype, err = d.textField()
	case 1:
		p.Params, err = d.params()
	case 2:
		p.ID, err = d.textField()
	case 3:
		s, err = d.field()
		p.Description = d.decodeText(s)
	case 4:
		if s, err = d.textField(); s != "" {
			p.Encoding = s
		}
	case 5:
		p.Size, err = d.nsize()
	}
	return err
}

// nsize reads a number that may be NIL or in quotes.
func (d *Decoder) nsize() (uint32, error) {
	c, err := d.next()
	if err != nil {
		return 0, err
	}
	if isDigit(c) || c == '-' || c == '"' {
		return d.size32()
	}
	_, err = d.field()
	return 0, err
}

// textLines reads the number of lines of a text part. Servers leave it out.
func (d *Decoder) textLines(p *imap.BodyStructureSinglePart) error {
	p.Text = new(imap.BodyStructureText)
	c, err := d.next()
	if err == nil && (isDigit(c) || c == '-') {
		p.Text.NumLines, err = d.size()
	}
	return err
}

// messagePart reads envelope, structure and lines of a message in a message.
// Servers leave all three out, so that the extension data comes at once, which
// makes eleven fields of fourteen; or say NIL for the envelope.
func (d *Decoder) messagePart(p *imap.BodyStructureSinglePart) (err error) {
	m := new(imap.BodyStructureMessageRFC822)
	c, err := d.next()
	if err != nil {
		return err
	}
	if c == ')' {
		return d.singlePartExt(p, 0)
	}
	if c == '(' {
		if m.Envelope, err = d.envelope(); err != nil {
			return err
		}
		if c, err = d.next(); err != nil {
			return err
		}
		if c == '(' {
			if m.BodyStructure, err = d.bodyStructure(); err != nil {
				return err
			}
		}
		return d.messageLines(p, m)
	}
	// Either NIL for an envelope, or the MD5 of the extension data.
	if _, err := d.field(); err != nil {
		return err
	}
	if c, err = d.next(); err != nil {
		return err
	}
	if c != '(' {
		return d.singlePartExt(p, 1)
	}
	var disposition *imap.BodyStructureDisposition
	if m.BodyStructure, disposition, err = d.bodyOrDisposition(); err != nil {
		return err
	}
	if m.BodyStructure != nil {
		return d.messageLines(p, m)
	}
	p.Extended = &imap.BodyStructureSinglePartExt{Disposition: disposition}
	return d.singlePartExt(p, 2)
}

func (d *Decoder) messageLines(p *imap.BodyStructureSinglePart, m *imap.BodyStructureMessageRFC822) error {
	p.MessageRFC822 = m
	c, err := d.next()
	if err != nil {
		return err
	}
	if isDigit(c) || c == '-' {
		if m.NumLines, err = d.size(); err != nil {
			return err
		}
	}
	return d.singlePartExt(p, 0)
}

// bodyOrDisposition reads a list that is one or the other. In a body a list or
// a second string comes first; in a disposition the second member is a list or
// NIL.
func (d *Decoder) bodyOrDisposition() (imap.BodyStructure, *imap.BodyStructureDisposition, error) {
	if err := d.openList(); err != nil {
		return nil, nil, err
	}
	c, err := d.next()
	if err != nil {
		return nil, nil, err
	}
	if c == '(' {
		m, err := d.multiPart()
		return m, nil, err
	}
	first, err := d.textField()
	if err != nil {
		return nil, nil, err
	}
	if c, err = d.next(); err != nil {
		return nil, nil, err
	}
	if c == '"' || c == '{' {
		p, err := d.singlePart(first)
		return p, nil, err
	}
	disposition, err := d.dispositionParams(first)
	return nil, disposition, err
}

// singlePartExt reads the extension data from field i on and closes the part.
func (d *Decoder) singlePartExt(p *imap.BodyStructureSinglePart, i int) error {
	for ; ; i++ {
		if closed, err := d.closeList(); err != nil || closed {
			return err
		}
		if p.Extended == nil {
			p.Extended = new(imap.BodyStructureSinglePartExt)
		}
		var err error
		switch x := p.Extended; i {
		case 1:
			x.Disposition, err = d.disposition()
		case 2:
			x.Language, err = d.languages()
		case 3:
			x.Location, err = d.textField()
		default: // 0 is the MD5, which go-imap has no field for
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
}

// textField is field in UTF-8.
func (d *Decoder) textField() (string, error) {
	s, err := d.field()
	return validText(s), err
}

// params reads a list of names and values, or nil for NIL. Names come out in
// lower case, values with RFC 2047 words decoded, for that is where senders put
// file names against the rule. RFC 2231 is left to the reader of the message.
func (d *Decoder) params() (map[string]string, error) {
	var (
		params  map[string]string
		name    string
		hasName bool
	)
	err := d.ReadNList(func() error {
		s, err := d.field()
		if err != nil {
			return err
		}
		if !hasName {
			name, hasName = strings.ToLower(validText(s)), true
			return nil
		}
		if params == nil {
			params = make(map[string]string)
		}
		params[name], hasName = d.decodeText(s), false
		return nil
	})
	return params, err
}

// disposition reads a disposition: a list, NIL, or only its value.
func (d *Decoder) disposition() (*imap.BodyStructureDisposition, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c != '(' {
		value, err := d.textField()
		if err != nil || value == "" {
			return nil, err
		}
		return &imap.BodyStructureDisposition{Value: value}, nil
	}
	if err := d.openList(); err != nil {
		return nil, err
	}
	if closed, err := d.closeList(); err != nil || closed {
		return nil, err
	}
	value, err := d.textField()
	if err != nil {
		return nil, err
	}
	return d.dispositionParams(value)
}

// dispositionParams reads what follows the value of a disposition.
func (d *Decoder) dispositionParams(value string) (*imap.BodyStructureDisposition, error) {
	x := &imap.BodyStructureDisposition{Value: value}
	if closed, err := d.closeList(); err != nil || closed {
		return x, err
	}
	var err error
	if x.Params, err = d.params(); err != nil {
		return nil, err
	}
	return x, d.skipMembers()
}

// languages reads a list of languages, or one, or NIL.
func (d *Decoder) languages() (list []string, err error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	if c != '(' {
		s, err := d.textField()
		if err != nil || s == "" {
			return nil, err
		}
		return []string{s}, nil
	}
	err = d.ReadList(func() error {
		s, err := d.textField()
		list = append(list, s)
		return err
	})
	return list, err
}
