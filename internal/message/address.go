package message

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Address is a mailbox in an address field. Address is empty where there is
// only a name: in an empty group ("undisclosed-recipients:;"), or in text that
// is no address.
type Address struct {
	Name    string
	Address string
	// Group is the name of the group that the mailbox is listed in (RFC 5322
	// section 3.4), if any.
	Group string
}

// ParseAddressList reads the raw value of an address field. It never fails:
// what cannot be understood becomes an Address with only a name.
func ParseAddressList(raw string) ([]Address, []Defect) { return parseAddressList(raw, "") }

func parseAddressList(raw, hint string) ([]Address, []Defect) {
	p := addressParser{s: raw, hint: hint, lastAt: strings.LastIndexByte(raw, '@')}
	p.parse()
	return p.list, p.found
}

// addressParser collects one item of the list at a time.
type addressParser struct {
	s      string
	i      int
	lastAt int // of the last "@" in s
	hint   string

	list  []Address
	found defects

	phrase    strings.Builder // what is outside brackets, without quotes
	at        bool            // there is an "@" in it
	comment   string
	quoted    bool // the phrase has a quoted string
	addr      string
	bracketed bool

	group   string
	inGroup bool
	members int

	// An opening that never closes is text, and so are all after it, or else
	// each would be searched for its end.
	noQuote, noComment bool
}

// maxAddresses bounds a list. The header has all of them.
const maxAddresses = 1000

func (p *addressParser) parse() {
	for p.i < len(p.s) {
		if len(p.list) >= maxAddresses {
			p.found.add(DefectTooManyAddresses)
			return
		}
		switch c := p.s[p.i]; c {
		case ',':
			p.i++
			p.endItem()
		case ';':
			// The end of a group, or the separator of mailers that take the
			// list of recipients as it was typed.
			p.i++
			p.endItem()
			if p.inGroup {
				p.endGroup()
			} else {
				p.found.add(DefectAddress)
			}
		case ':':
			p.i++
			p.colon()
		case '<':
			p.angle()
		case '"':
			p.quote()
		case '(':
			p.parenthesis()
		case '=':
			p.text(encodedWordLength(p.s[p.i:]))
		default:
			p.text(1)
		}
	}
	p.endItem()
	if p.inGroup {
		p.found.add(DefectAddress)
		p.endGroup()
	}
}

// text takes n bytes into the phrase.
func (p *addressParser) text(n int) {
	p.at = p.at || p.s[p.i] == '@'
	p.phrase.WriteString(p.s[p.i : p.i+n])
	p.i += n
}

// encodedWordLength is the length of the encoded word at the beginning of s,
// or 1 if there is none. Some mailers leave commas in them.
func encodedWordLength(s string) int {
	if !strings.HasPrefix(s, "=?") {
		return 1
	}
	name, _, ok := strings.Cut(s[2:min(len(s), 2+maxCharsetName)], "?")
	text := 2 + len(name) + 3 // "=?" name "?Q?"
	if !ok || len(s) < text || s[text-1] != '?' {
		return 1
	}
	end := strings.IndexAny(s[text:], " \t?<>")
	if end < 0 || !strings.HasPrefix(s[text+end:], "?=") {
		return 1
	}
	return text + end + 2
}

func (p *addressParser) colon() {
	if p.bracketed || p.inGroup || p.at {
		p.phrase.WriteByte(':')
		return
	}
	name := strings.TrimSpace(p.phrase.String())
	if name == "" || strings.EqualFold(name, "mailto") {
		p.phrase.Reset()
		return
	}
	p.group, p.inGroup, p.members = p.decodeName(name), true, 0
	p.reset()
}

func (p *addressParser) endGroup() {
	if p.members == 0 {
		p.list = append(p.list, Address{Name: p.group, Group: p.group})
	}
	p.group, p.inGroup = "", false
}

func (p *addressParser) quote() {
	if !p.noQuote {
		if text, rest, closed := quotedString(p.s[p.i:]); closed {
			if strings.HasPrefix(rest, "@") {
				// A quoted local part; its quotes belong to the address.
				p.text(len(p.s) - len(rest) - p.i)
				return
			}
			p.phrase.WriteString(text)
			p.quoted = true
			p.i = len(p.s) - len(rest)
			return
		}
		p.noQuote = true
		p.found.add(DefectAddress)
	}
	p.i++
}

func (p *addressParser) parenthesis() {
	if !p.noComment {
		if n := commentLength(p.s[p.i:]); n > 0 {
			if text := strings.TrimSpace(p.s[p.i+1 : p.i+n-1]); text != "" && p.comment == "" {
				p.comment = text
			}
			p.i += n
			return
		}
		p.noComment = true
		p.found.add(DefectAddress)
	}
	p.text(1)
}

// angle reads <route:local@domain> (RFC 5322 sections 3.4 and 4.4).
func (p *addressParser) angle() {
	p.i++
	start, inQuote := p.i, false
	for p.i < len(p.s) {
		c := p.s[p.i]
		if c == '"' && p.i < p.lastAt {
			inQuote = !inQuote
		}
		if c == '>' && !inQuote || c == ',' && !inQuote && p.s[start] != '@' {
			break
		}
		p.i++
	}
	inner := p.s[start:p.i]
	if p.i == len(p.s) || p.s[p.i] != '>' {
		p.found.add(DefectAddress)
	}
	for p.i < len(p.s) && p.s[p.i] == '>' {
		p.i++
	}
	if p.bracketed {
		p.endItem() // A second address without a comma between.
		p.found.add(DefectAddress)
	}
	p.addr, p.bracketed = cleanAddress(inner), true
}

// cleanAddress takes off what may stand around an address within brackets.
func cleanAddress(s string) string {
	s = strings.Trim(s, " \t<>'")
	if strings.HasPrefix(s, "@") {
		if _, after, ok := strings.Cut(s, ":"); ok {
			s = after // The source route of RFC 822.
		}
	}
	if len(s) > 7 && strings.EqualFold(s[:7], "mailto:") {
		s = s[7:]
	}
	if !strings.HasPrefix(s, `"`) {
		s = strings.Join(strings.Fields(s), "")
	}
	return strings.TrimSuffix(s, ".")
}

// endItem turns what was collected into addresses.
func (p *addressParser) endItem() {
	phrase := strings.Trim(p.phrase.String(), " \t")
	switch {
	case p.bracketed:
		p.endBracketed(phrase)
	case phrase != "" || p.comment != "":
		p.endBare(phrase)
	}
	p.reset()
}

func (p *addressParser) reset() {
	p.phrase.Reset()
	p.comment, p.addr, p.quoted, p.bracketed, p.at = "", "", false, false, false
}

func (p *addressParser) endBracketed(phrase string) {
	if phrase == "" {
		phrase = p.comment
	}
	name := p.decodeName(phrase)
	if !strings.Contains(p.addr, "@") {
		p.found.add(DefectAddress)
		if name == "" {
			name = p.decodeName(p.addr)
		}
		if name != "" {
			p.emit(Address{Name: name})
		}
		return
	}
	p.emit(Address{Name: name, Address: p.decodeName(p.addr)})
}

// endBare reads an item without brackets: "ann@example.com (Ann Lee)", and
// the forms that nobody should send.
func (p *addressParser) endBare(phrase string) {
	if !p.quoted {
		phrase = strings.ReplaceAll(strings.ReplaceAll(phrase, " @", "@"), "@ ", "@")
	}
	name := p.decodeName(p.comment)
	if strings.HasPrefix(phrase, `"`) && strings.Contains(phrase, `"@`) {
		p.emit(Address{Name: name, Address: p.decodeName(phrase)})
		return
	}
	if strings.HasPrefix(phrase, "=?") {
		if decoded := p.decodeName(phrase); strings.Contains(decoded, "@") {
			phrase = decoded // All of it was encoded, address included.
			p.found.add(DefectAddress)
		}
	}
	if p.quoted && !strings.Contains(phrase, "@") || !strings.Contains(phrase, "@") {
		p.found.add(DefectAddress)
		if phrase != "" {
			name = p.decodeName(phrase)
		}
		p.emit(Address{Name: name})
		return
	}
	words := strings.Fields(phrase)
	if len(words) > 1 {
		p.found.add(DefectAddress)
	}
	first := 0
	for i, w := range words {
		if strings.Contains(w, "@") {
			before := name
			if i > first {
				before = p.decodeName(strings.Join(words[first:i], " "))
			}
			p.emit(Address{Name: before, Address: p.decodeName(cleanAddress(w))})
			first, name = i+1, ""
		}
	}
	if first < len(words) {
		last := &p.list[len(p.list)-1]
		if last.Name == "" {
			last.Name = p.decodeName(strings.Join(words[first:], " "))
		}
	}
}

func (p *addressParser) emit(a Address) {
	a.Group = p.group
	p.members++
	p.list = append(p.list, a)
}

func (p *addressParser) decodeName(raw string) string {
	if raw == "" {
		return ""
	}
	text, found := decodeUnstructured(raw, p.hint)
	p.found.add(found...)
	text = strings.TrimSpace(text)
	if len(text) > 1 && text[0] == '\'' && text[len(text)-1] == '\'' {
		text = text[1 : len(text)-1] // Outlook quotes names it has no contact for.
	}
	return text
}

// noHost and noMailbox are what servers put into an ENVELOPE where the header
// has nothing: Dovecot, UW and Panda, Cyrus.
func noHost(s string) bool {
	switch s {
	case "", "MISSING_DOMAIN", ".MISSING-HOST-NAME.", ".SYNTAX-ERROR.", "unspecified-domain":
		return true
	}
	return false
}

func noMailbox(s string) bool {
	switch s {
	case "", "MISSING_MAILBOX", "MISSING_MAILBOX_TERMINATOR", "UNEXPECTED_DATA_AFTER_ADDRESS", "INVALID_ADDRESS", "UNEXPECTED_DATA", "unspecified-mailbox":
		return true
	}
	return false
}

// addressesOf reads an ENVELOPE's list. RFC 9051 section 7.5.2: a group starts
// with an address without a host, whose mailbox is its name, and ends with one
// without either.
func addressesOf(list []imap.Address, hint string, found *defects) []Address {
	p := addressParser{hint: hint}
	for i := range list {
		a := &list[i]
		switch {
		case len(p.list) >= maxAddresses:
			p.found.add(DefectTooManyAddresses)
		case a.IsGroupStart() && a.Name == "":
			p.group, p.inGroup, p.members = p.decodeName(a.Mailbox), true, 0
		case a.IsGroupEnd() && a.Name == "":
			if p.inGroup {
				p.endGroup()
			}
		case noHost(a.Host) || noMailbox(a.Mailbox):
			p.found.add(DefectAddress)
			name := a.Name
			if name == "" && !noMailbox(a.Mailbox) {
				name = a.Mailbox
			}
			if name != "" {
				p.emit(Address{Name: p.decodeName(name)})
			}
		default:
			p.emit(Address{Name: p.decodeName(a.Name), Address: p.decodeName(a.Mailbox + "@" + a.Host)})
		}
	}
	if p.inGroup {
		p.endGroup()
	}
	found.add(p.found...)
	return p.list
}
