package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// splitCode divides the text of a status response into its response code, the
// code's argument and the text for people.
func splitCode(text string) (code imap.ResponseCode, arg, rest string) {
	if !strings.HasPrefix(text, "[") {
		return "", "", text
	}
	end := codeEnd(text)
	if end < 0 {
		return "", "", text
	}
	inner := strings.TrimSpace(text[1:end])
	name, arg, _ := strings.Cut(inner, " ")
	return imap.ResponseCode(strings.ToUpper(name)), strings.TrimSpace(arg), strings.TrimSpace(text[end+1:])
}

// codeEnd finds the bracket that ends a response code. RFC 9051 has none within
// a code, but flags and charsets with brackets are seen; so brackets in lists
// and quotes are passed over, if that leads anywhere.
func codeEnd(text string) int {
	depth, quoted := 0, false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && depth > 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ']' && depth <= 0:
			return i
		}
	}
	return strings.IndexByte(text, ']')
}

// parseText runs f over a Decoder of s.
func parseText(s string, f func(d *Decoder) error) error {
	d := NewDecoder(strings.NewReader(s+"\r\n"), Limits{})
	d.borrow()
	d.inLine = true
	err := f(d)
	d.inLine, d.r = false, d.w
	d.Release()
	return err
}

// is reports whether the status has the code.
func (s *Status) is(code string) bool { return s != nil && string(s.Code) == code }

// Capabilities returns what the code CAPABILITY lists.
func (s *Status) Capabilities() (imap.CapSet, bool) {
	if !s.is("CAPABILITY") {
		return nil, false
	}
	caps := make(imap.CapSet)
	for name := range strings.FieldsSeq(s.Arg) {
		addCap(caps, name)
	}
	return caps, true
}

// PermanentFlags returns what the code PERMANENTFLAGS lists.
func (s *Status) PermanentFlags() (flags []imap.Flag, ok bool) {
	if !s.is("PERMANENTFLAGS") {
		return nil, false
	}
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		flags, err = d.flagList()
		return err
	})
	return flags, err == nil
}

// number returns the number that a code carries.
func (s *Status) number(code string) (n uint64, ok bool) {
	if !s.is(code) {
		return 0, false
	}
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		n, err = d.number()
		return err
	})
	return n, err == nil
}

// number32 returns the number of 32 bits that a code carries.
func (s *Status) number32(code string) (uint32, bool) {
	n, ok := s.number(code)
	return uint32(n), ok && n <= 1<<32-1
}

// UIDNext returns the number of the code UIDNEXT.
func (s *Status) UIDNext() (imap.UID, bool) {
	n, ok := s.number32("UIDNEXT")
	return imap.UID(n), ok
}

// UIDValidity returns the number of the code UIDVALIDITY.
func (s *Status) UIDValidity() (uint32, bool) { return s.number32("UIDVALIDITY") }

// Unseen returns the number of the code UNSEEN: the first unseen message.
func (s *Status) Unseen() (uint32, bool) { return s.number32("UNSEEN") }

// HighestModSeq returns the number of the code HIGHESTMODSEQ (RFC 7162 section 3.1.2.1).
func (s *Status) HighestModSeq() (uint64, bool) { return s.number("HIGHESTMODSEQ") }

// AppendUID returns what the code APPENDUID says: UIDVALIDITY and UID of each
// appended message, in order (RFC 4315 section 3).
func (s *Status) AppendUID() (validity uint32, uids imap.UIDSet, ok bool) {
	if !s.is("APPENDUID") {
		return 0, nil, false
	}
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		if validity, err = d.Number(); err != nil {
			return err
		}
		uids, err = d.orderedUIDs()
		return err
	})
	return validity, uids, err == nil
}

// CopyUID returns what the code COPYUID says (RFC 4315 section 3). The ranges of
// both sets are in the server's order, for the n-th of one is the n-th of the
// other: see CopiedTo.
func (s *Status) CopyUID() (*imap.CopyData, bool) {
	if !s.is("COPYUID") {
		return nil, false
	}
	data := new(imap.CopyData)
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		if data.UIDValidity, err = d.Number(); err != nil {
			return err
		}
		if data.SourceUIDs, err = d.orderedUIDs(); err != nil {
			return err
		}
		data.DestUIDs, err = d.orderedUIDs()
		return err
	})
	return data, err == nil
}

// Modified returns the set of the code MODIFIED: the messages that STORE with
// UNCHANGEDSINCE left alone (RFC 7162 section 3.1.3). They are UIDs after UID
// STORE, else sequence numbers: see SeqSet.
func (s *Status) Modified() (imap.UIDSet, bool) {
	if !s.is("MODIFIED") {
		return nil, false
	}
	var set imap.UIDSet
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		set, err = d.uidSet()
		return err
	})
	return set, err == nil
}

// BadCharset returns the charsets that the server knows, after the code
// BADCHARSET. The list may be empty.
func (s *Status) BadCharset() (charsets []string, ok bool) {
	if !s.is(string(imap.ResponseCodeBadCharset)) {
		return nil, false
	}
	if s.Arg == "" {
		return nil, true
	}
	err := parseText(s.Arg, func(d *Decoder) error {
		return d.ReadNList(func() error {
			charset, err := d.AString()
			charsets = append(charsets, charset)
			return err
		})
	})
	return charsets, err == nil
}

// MailboxID returns the identifier of the code MAILBOXID (RFC 8474 section 4).
func (s *Status) MailboxID() (id string, ok bool) {
	if !s.is("MAILBOXID") {
		return "", false
	}
	err := parseText(s.Arg, func(d *Decoder) (err error) {
		id, err = d.objectID()
		return err
	})
	return id, err == nil && id != ""
}
