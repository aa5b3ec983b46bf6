package query

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/postern-mail/postern/internal/message"
)

// addressFields are the headers that hold addresses.
var addressFields = map[string]bool{"from": true, "to": true, "cc": true, "bcc": true, "sender": true, "reply_to": true}

// fold makes texts equal that differ in case only (RFC 5051).
func fold(text string) string { return norm.NFC.String(cases.Fold().String(norm.NFKC.String(text))) }

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

// text searches what a person reads: with "text" the header as well.
func (p planner) text(t Term, field string) (node, error) {
	switch {
	case t.Op == "=" || t.Op == "!=":
		return node{}, t.Unsupported("a text can only contain another: write %s:%q", t.Field, t.Value)
	case t.Op != ":" && t.Op != "":
		return node{}, t.Syntax("%q does not go with the field %q", t.Op, t.Field)
	case t.Value == "":
		return node{}, t.Syntax("the value is empty")
	}
	if p.ASCIIOnly && !isASCII(t.Value) {
		wanted, header := fold(t.Value), field != "body"
		return node{rest: look{needs: Needs{Message: true}, test: func(f *Facts) bool {
			return strings.Contains(fold(f.Text), wanted) ||
				header && slices.ContainsFunc(f.Header.Fields, func(h message.Field) bool { return strings.Contains(fold(h.Value), wanted) })
		}}}, nil
	}
	c := &Criteria{}
	if field == "body" {
		c.Body = []string{t.Value}
	} else {
		c.Text = []string{t.Value}
	}
	return exactly(c), nil
}

// header searches one header: ":" for text that it contains, "=" for what it
// is, and ":*" for whether it is there.
func (p planner) header(t Term, name string) (node, error) {
	// RFC 5322 section 3.6.8: a field name is printable ASCII without colon.
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return node{}, t.Syntax("%q is not the name of a header", name)
	}
	negated, err := equals(t)
	switch {
	case err != nil:
		return node{}, err
	case t.Value == "":
		return node{}, t.Syntax("the value is empty")
	case t.Value == "*" && !t.Quoted && t.Op == ":":
		return exactly(headerCriteria(name, "")), nil
	case t.Op == ":":
		wanted := fold(t.Value)
		return p.headerNode(name, t.Value, false, func(f message.Field) bool { return strings.Contains(fold(f.Value), wanted) }), nil
	}
	return negateIf(negated, p.headerNode(name, t.Value, true, isValue(name, t.Value))), nil
}

// isValue tells whether a header is a value: for addresses, whether one of them
// is or is named so.
func isValue(name, value string) func(message.Field) bool {
	wanted := fold(value)
	if addressFields[strings.ReplaceAll(strings.ToLower(name), "-", "_")] {
		return func(f message.Field) bool {
			list, _ := message.ParseAddressList(f.Raw)
			return slices.ContainsFunc(list, func(a message.Address) bool { return fold(a.Address) == wanted || fold(a.Name) == wanted })
		}
	}
	// The API has Message-IDs without their angle brackets.
	bare := func(s string) string { return strings.Trim(s, "<> ") }
	return func(f message.Field) bool { return bare(fold(f.Value)) == bare(wanted) }
}

// addressPart searches the addresses of a header, or the names that go with
// them.
func (p planner) addressPart(t Term, name, part string) (node, error) {
	negated, err := equals(t)
	if err != nil {
		return node{}, err
	}
	if t.Value == "" {
		return node{}, t.Syntax("the value is empty")
	}
	wanted, whole := fold(t.Value), t.Op != ":"
	n := p.headerNode(name, t.Value, true, func(f message.Field) bool {
		list, _ := message.ParseAddressList(f.Raw)
		return slices.ContainsFunc(list, func(a message.Address) bool {
			text := fold(a.Address)
			if part == "name" {
				text = fold(a.Name)
			}
			return text == wanted || !whole && strings.Contains(text, wanted)
		})
	})
	return negateIf(negated, n), nil
}

// headerNode searches for a header that contains a text. With strict, or where
// the server does not know the text's charset, test has to be asked as well.
func (p planner) headerNode(name, text string, strict bool, test func(message.Field) bool) node {
	foreign := p.ASCIIOnly && !isASCII(text)
	c := headerCriteria(name, text)
	if !strict && !foreign {
		return exactly(c)
	}
	n := node{rest: look{needs: Needs{Headers: []string{name}}, test: func(f *Facts) bool {
		return slices.ContainsFunc(f.Header.Fields, func(h message.Field) bool { return strings.EqualFold(h.Name, name) && test(h) })
	}}}
	if !foreign {
		n.upper = c
	}
	return n
}

func headerCriteria(name, text string) *Criteria {
	c := &Criteria{}
	c.Header = []imap.SearchCriteriaHeaderField{{Key: name, Value: text}}
	return c
}
