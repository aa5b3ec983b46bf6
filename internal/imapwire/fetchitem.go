package imapwire

import (
	"math"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// FetchOptions says what FETCH is to answer: go-imap's options and the items
// that it lacks.
type FetchOptions struct {
	imap.FetchOptions

	EmailID       bool // OBJECTID (RFC 8474)
	ThreadID      bool // OBJECTID
	SaveDate      bool // SAVEDATE (RFC 8514)
	Preview       bool // PREVIEW (RFC 8970)
	PreviewLazy   bool // PREVIEW (LAZY): only what costs the server nothing
	GmailMsgID    bool // X-GM-EXT-1
	GmailThreadID bool // X-GM-EXT-1
	GmailLabels   bool // X-GM-EXT-1
	// Vanished, with ChangedSince and UID FETCH, asks for the expunged as well
	// (QRESYNC, RFC 7162 section 3.2.6).
	Vanished bool
}

// FetchItems writes the items in parentheses, and the modifiers, if any. UID
// comes first, so that the answer has it before any literal.
func (e *Encoder) FetchItems(o *FetchOptions) *Encoder {
	k := keyWriter{e: e.raw("(")}
	for _, item := range [...]struct {
		want bool
		name string
	}{
		{o.UID, "UID"},
		{o.Flags, "FLAGS"},
		{o.ModSeq, "MODSEQ"},
		{o.InternalDate, "INTERNALDATE"},
		{o.RFC822Size, "RFC822.SIZE"},
		{o.EmailID, "EMAILID"},
		{o.ThreadID, "THREADID"},
		{o.SaveDate, "SAVEDATE"},
		{o.GmailMsgID, "X-GM-MSGID"},
		{o.GmailThreadID, "X-GM-THRID"},
		{o.GmailLabels, "X-GM-LABELS"},
		{o.Envelope, "ENVELOPE"},
		{o.BodyStructure != nil && !o.BodyStructure.Extended, "BODY"},
		{o.BodyStructure != nil && o.BodyStructure.Extended, "BODYSTRUCTURE"},
		{o.Preview && !o.PreviewLazy, "PREVIEW"},
		{o.PreviewLazy, "PREVIEW (LAZY)"},
	} {
		if item.want {
			k.key(item.name)
		}
	}
	for _, s := range o.BinarySectionSize {
		k.key("BINARY.SIZE[").part(s.Part).raw("]")
	}
	for _, s := range o.BinarySection {
		k.key("BINARY" + peek(s.Peek) + "[").part(s.Part).raw("]").partial(s.Partial)
	}
	for _, s := range o.BodySection {
		k.key("BODY" + peek(s.Peek)).BodySection(s)
	}
	if !k.any {
		return e.fail("a FETCH of nothing")
	}
	e.raw(")")
	return e.fetchModifiers(o)
}

func peek(on bool) string {
	if on {
		return ".PEEK"
	}
	return ""
}

// fetchModifiers writes CHANGEDSINCE and VANISHED (RFC 7162 sections 3.1.4.1 and
// 3.2.6).
func (e *Encoder) fetchModifiers(o *FetchOptions) *Encoder {
	if o.ChangedSince == 0 {
		if o.Vanished {
			return e.fail("VANISHED without CHANGEDSINCE")
		}
		return e
	}
	e.raw(" (CHANGEDSINCE ").ModSeq(o.ChangedSince)
	if o.Vanished {
		e.raw(" VANISHED")
	}
	return e.raw(")")
}

// BodySection writes a section in brackets and its partial.
func (e *Encoder) BodySection(s *imap.FetchItemBodySection) *Encoder {
	e.raw("[").part(s.Part)
	if s.Specifier != imap.PartSpecifierNone {
		if len(s.Part) > 0 {
			e.raw(".")
		}
		e.specifier(s)
	} else if len(s.HeaderFields)+len(s.HeaderFieldsNot) > 0 {
		e.fail("header fields of a section that is not HEADER")
	}
	return e.raw("]").partial(s.Partial)
}

func (e *Encoder) specifier(s *imap.FetchItemBodySection) *Encoder {
	e.Atom(string(s.Specifier))
	names := s.HeaderFields
	switch {
	case len(s.HeaderFields) > 0 && len(s.HeaderFieldsNot) > 0:
		return e.fail("header fields both asked for and not")
	case len(s.HeaderFields) > 0:
		e.raw(".FIELDS ")
	case len(s.HeaderFieldsNot) > 0:
		names = s.HeaderFieldsNot
		e.raw(".FIELDS.NOT ")
	default:
		return e
	}
	if s.Specifier != imap.PartSpecifierHeader {
		return e.fail("header fields of a section that is not HEADER")
	}
	return e.List(len(names), func(i int) { e.headerName(names[i]) })
}

// headerName writes a header's name, as an atom where it may be: servers echo
// it, and some are confused by quotes.
func (e *Encoder) headerName(name string) *Encoder {
	for i := range len(name) {
		if !isStrictAtomByte(name[i]) {
			return e.String(name)
		}
	}
	return e.Atom(name)
}

func (e *Encoder) part(part []int) *Encoder {
	for i, n := range part {
		if n <= 0 || n > math.MaxInt32 {
			return e.fail("a part number that is not positive")
		}
		if i > 0 {
			e.raw(".")
		}
		e.buf = strconv.AppendInt(e.buf, int64(n), 10)
	}
	return e
}

func (e *Encoder) partial(p *imap.SectionPartial) *Encoder {
	if p == nil {
		return e
	}
	if p.Size <= 0 {
		return e.fail("a partial section of no size")
	}
	return e.raw("<").Number64(p.Offset).raw(".").Number64(p.Size).raw(">")
}

// StatusOptions says what STATUS is to answer.
type StatusOptions struct {
	imap.StatusOptions
	MailboxID bool // OBJECTID (RFC 8474)
}

// StatusItems writes the items of STATUS in parentheses.
func (e *Encoder) StatusItems(o *StatusOptions) *Encoder {
	k := keyWriter{e: e.raw("(")}
	for _, item := range [...]struct {
		want bool
		name string
	}{
		{o.NumMessages, "MESSAGES"},
		{o.NumRecent, "RECENT"},
		{o.UIDNext, "UIDNEXT"},
		{o.UIDValidity, "UIDVALIDITY"},
		{o.NumUnseen, "UNSEEN"},
		{o.NumDeleted, "DELETED"},
		{o.Size, "SIZE"},
		{o.AppendLimit, "APPENDLIMIT"},
		{o.DeletedStorage, "DELETED-STORAGE"},
		{o.HighestModSeq, "HIGHESTMODSEQ"},
		{o.MailboxID, "MAILBOXID"},
	} {
		if item.want {
			k.key(item.name)
		}
	}
	if !k.any {
		return e.fail("a STATUS of nothing")
	}
	return e.raw(")")
}

// SameSection reports whether the answer's section is the one that was asked
// for: servers do not echo PEEK and the size of a partial, and header names come
// back in any case.
func SameSection(asked, got *imap.FetchItemBodySection) bool {
	if asked.Specifier != got.Specifier || len(asked.Part) != len(got.Part) ||
		!sameNames(asked.HeaderFields, got.HeaderFields) || !sameNames(asked.HeaderFieldsNot, got.HeaderFieldsNot) {
		return false
	}
	for i := range asked.Part {
		if asked.Part[i] != got.Part[i] {
			return false
		}
	}
	var askedOffset, gotOffset int64
	if asked.Partial != nil {
		askedOffset = asked.Partial.Offset
	}
	if got.Partial != nil {
		gotOffset = got.Partial.Offset
	}
	return askedOffset == gotOffset
}

func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !strings.EqualFold(a[i], b[i]) {
			return false
		}
	}
	return true
}
