package imapwire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// BodySection is a body section of a FETCH response: BODY[...], BINARY[...],
// RFC822, RFC822.HEADER or RFC822.TEXT.
type BodySection struct {
	// Name is the item's name without the section, such as "BODY".
	Name string
	// Section says which part of the message it is. For BINARY only Part and
	// Partial are used. Partial has the offset only: servers do not echo a size.
	Section imap.FetchItemBodySection
	// Literal delivers the contents, or is nil where the server says NIL.
	Literal *Literal
}

// legacySection translates the items of RFC 3501 section 6.4.5 that stand for a
// body section.
func legacySection(name string) imap.FetchItemBodySection {
	switch name {
	case "RFC822.HEADER":
		return imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader}
	case "RFC822.TEXT":
		return imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}
	}
	return imap.FetchItemBodySection{}
}

// section reads an item with a section in brackets, and its value.
func (f *fetchReader) section(name string) error {
	name = strings.TrimSuffix(name, ".PEEK") // an echo of the request
	switch name {
	case "BODY", "BINARY", "BINARY.SIZE":
	default:
		return f.d.skipSection()
	}
	spec, err := f.d.sectionSpec()
	if err != nil {
		return err
	}
	if name == "BINARY.SIZE" {
		n, err := f.d.size()
		if err == nil && len(f.data.BinarySizes) < f.d.limits.Elements {
			f.data.BinarySizes = append(f.data.BinarySizes, BinarySize{Part: spec.Part, Size: n})
		}
		return err
	}
	return f.contents(&BodySection{Name: name, Section: spec})
}

// skipSection skips a section of an item that is not known, and its value.
func (d *Decoder) skipSection() error {
	if err := d.expect('['); err != nil {
		return err
	}
	for {
		c, err := d.next()
		if err != nil {
			return err
		}
		switch {
		case c == ']':
			d.r++
			if _, err := d.partial(); err != nil {
				return err
			}
			return d.SkipValue()
		case inSpec[c] && c != '{':
			_, err = d.span(&inSpec)
		case c == ')':
			err = d.syntaxError("a closing bracket")
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
}

// contents hands out the value of a body section.
func (f *fetchReader) contents(s *BodySection) (err error) {
	if f.body == nil {
		return f.d.SkipValue()
	}
	if s.Literal, err = f.d.NStringReader(); err != nil {
		return err
	}
	if f.bodyErr = f.body(f.data, s); f.bodyErr != nil {
		return f.bodyErr
	}
	return f.d.drainLiteral()
}

// sectionSpec reads "[1.2.HEADER.FIELDS (A B)]<0>" (section and partial of RFC
// 9051 section 9).
func (d *Decoder) sectionSpec() (s imap.FetchItemBodySection, err error) {
	if err := d.expect('['); err != nil {
		return s, err
	}
	b, err := d.span(&inSpec)
	if err != nil {
		return s, err
	}
	var specifier string
	if s.Part, specifier, err = d.sectionPart(string(b)); err != nil {
		return s, err
	}
	s.Specifier = imap.PartSpecifier(specifier)
	if fields, ok := strings.CutPrefix(specifier, "HEADER.FIELDS"); ok {
		s.Specifier = imap.PartSpecifierHeader
		names, err := d.headerList()
		if err != nil {
			return s, err
		}
		if fields == ".NOT" {
			s.HeaderFieldsNot = names
		} else {
			s.HeaderFields = names
		}
	}
	if err := d.expect(']'); err != nil {
		return s, err
	}
	s.Partial, err = d.partial()
	return s, err
}

// sectionPart divides "1.2.HEADER" into numbers and the specifier.
func (d *Decoder) sectionPart(spec string) (part []int, specifier string, err error) {
	for spec != "" && isDigit(spec[0]) {
		var head string
		head, spec, _ = strings.Cut(spec, ".")
		n := 0
		for i := range len(head) {
			if !isDigit(head[i]) || n > math.MaxInt32/10 {
				return nil, "", d.syntaxError("a part number")
			}
			n = n*10 + int(head[i]-'0')
		}
		if len(part) == d.limits.Depth {
			return nil, "", d.limitError("Depth", int64(d.limits.Depth))
		}
		part = append(part, n)
	}
	return part, strings.ToUpper(spec), nil
}

func (d *Decoder) headerList() (names []string, err error) {
	err = d.ReadList(func() error {
		name, err := d.AString()
		names = append(names, name)
		return err
	})
	return names, err
}

// partial reads the origin octet "<n>", if there is one. Servers have been seen
// to echo "<n.m>".
func (d *Decoder) partial() (*imap.SectionPartial, error) {
	found, err := d.acceptByte('<')
	if err != nil || !found {
		return nil, err
	}
	p := new(imap.SectionPartial)
	if p.Offset, err = d.Number64(); err != nil {
		return nil, err
	}
	if dot, err := d.acceptByte('.'); err != nil {
		return nil, err
	} else if dot {
		if _, _, err := d.digits(); err != nil {
			return nil, err
		}
	}
	return p, d.expect('>')
}
