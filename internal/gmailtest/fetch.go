package gmailtest

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/textproto"
)

func headerOf(raw []byte) textproto.Header {
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return textproto.Header{}
	}
	return header
}

// macros are the words that stand for several items.
var macros = map[string]string{
	"ALL": "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE", "FAST": "FLAGS INTERNALDATE RFC822.SIZE",
	"FULL": "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY",
}

func (s *session) fetch(args []value, uid bool) (string, error) {
	if len(args) < 2 {
		return "", bad("Could not parse command")
	}
	var items []string
	switch {
	case args[1].isList:
		for _, item := range args[1].list {
			items = append(items, item.text)
		}
	case macros[args[1].upper()] != "":
		items = strings.Fields(macros[args[1].upper()])
	default:
		items = []string{args[1].text}
	}
	if uid && !slices.ContainsFunc(items, func(i string) bool { return strings.EqualFold(i, "UID") }) {
		items = append([]string{"UID"}, items...)
	}
	var since uint64
	if len(args) > 2 {
		for i, modifier := range args[2].list {
			if modifier.upper() == "CHANGEDSINCE" && i+1 < len(args[2].list) {
				since, _ = strconv.ParseUint(args[2].list[i+1].text, 10, 64)
				s.condStore = true
				items = append(items, "MODSEQ")
			}
		}
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	chosen, err := s.choose(args[0].text, uid)
	if err != nil {
		return "", err
	}
	for _, m := range chosen {
		if since > 0 && m.modSeq <= since {
			continue
		}
		parts := make([]string, 0, len(items))
		for _, item := range items {
			text, err := s.item(m.entry, item)
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		s.untagged("* %d FETCH (%s)", m.number, strings.Join(parts, " "))
	}
	return "Success", nil
}

// item writes one item of a message, with its name.
func (s *session) item(e *entry, item string) (string, error) {
	name := strings.ToUpper(item)
	switch name {
	case "UID":
		return fmt.Sprintf("UID %d", e.uid), nil
	case "FLAGS":
		s.told[e] = e.modSeq
		return "FLAGS " + flagList(e.allFlags()), nil
	case "INTERNALDATE":
		return fmt.Sprintf("INTERNALDATE %q", e.arrived.Format(internalDate)), nil
	case "RFC822.SIZE":
		return fmt.Sprintf("RFC822.SIZE %d", len(e.raw)), nil
	case "MODSEQ":
		s.condStore = true
		return fmt.Sprintf("MODSEQ (%d)", e.modSeq), nil
	case "ENVELOPE":
		return "ENVELOPE " + envelope(imapserver.ExtractEnvelope(headerOf(e.raw))), nil
	case "BODY", "BODYSTRUCTURE":
		return name + " " + structure(imapserver.ExtractBodyStructure(bytes.NewReader(e.raw)), name == "BODYSTRUCTURE"), nil
	case "X-GM-MSGID":
		return fmt.Sprintf("X-GM-MSGID %d", e.id), nil
	case "X-GM-THRID":
		return fmt.Sprintf("X-GM-THRID %d", e.thread), nil
	case "EMAILID":
		return fmt.Sprintf("EMAILID (M%d)", e.id), nil
	case "THREADID":
		return fmt.Sprintf("THREADID (T%d)", e.thread), nil
	case "X-GM-LABELS":
		return "X-GM-LABELS " + s.labelList(e), nil
	case "RFC822.HEADER":
		item = "BODY.PEEK[HEADER]"
	case "RFC822":
		item = "BODY[]"
	}
	return s.section(e, item, name)
}

// labelList writes the labels but for that of the selected folder.
func (s *session) labelList(e *entry) string {
	var words []string
	for _, label := range slices.Sorted(maps.Keys(e.labels)) {
		if label != s.selected.label {
			words = append(words, s.labelWord(label))
		}
	}
	return "(" + strings.Join(words, " ") + ")"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// labelWord writes a label as Gmail does: a plain word as it is, the rest
// quoted, and names beyond ASCII in modified UTF-7.
func (s *session) labelWord(label string) string {
	if plainWord.MatchString(label) {
		return label
	}
	return s.quoteName(label)
}

var sectionItem = regexp.MustCompile(`(?i)^BODY(\.PEEK)?\[([0-9.]*?)\.?(HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?(?: \(([^)]*)\))?\](?:<(\d+)\.(\d+)>)?$`)

// section writes a section of the message's contents.
func (s *session) section(e *entry, item, name string) (string, error) {
	m := sectionItem.FindStringSubmatch(item)
	if m == nil {
		return "", bad("Could not parse command")
	}
	section := &imap.FetchItemBodySection{}
	for number := range strings.SplitSeq(m[2], ".") {
		if n, err := strconv.Atoi(number); err == nil {
			section.Part = append(section.Part, n)
		}
	}
	fields := strings.Fields(strings.ReplaceAll(m[4], `"`, ""))
	switch specifier := strings.ToUpper(m[3]); specifier {
	case "HEADER.FIELDS":
		section.Specifier, section.HeaderFields = imap.PartSpecifierHeader, fields
	case "HEADER.FIELDS.NOT":
		section.Specifier, section.HeaderFieldsNot = imap.PartSpecifierHeader, fields
	default:
		section.Specifier = imap.PartSpecifier(specifier)
	}
	origin := ""
	if m[5] != "" {
		offset, _ := strconv.ParseInt(m[5], 10, 64)
		size, _ := strconv.ParseInt(m[6], 10, 64)
		section.Partial = &imap.SectionPartial{Offset: offset, Size: size}
		origin = fmt.Sprintf("<%d>", offset)
	}
	if m[1] == "" && !s.readOnly && !e.flags[imap.FlagSeen] && !s.store.held {
		s.store.change(func(n uint64) { e.modSeq = n; e.flags[imap.FlagSeen] = true })
	}
	content := imapserver.ExtractBodySection(bytes.NewReader(e.raw), section)
	if name == "RFC822" || name == "RFC822.HEADER" {
		return fmt.Sprintf("%s {%d}\r\n%s", name, len(content), content), nil
	}
	label := item[strings.IndexByte(item, '[') : strings.IndexByte(item, ']')+1]
	return fmt.Sprintf("BODY%s%s {%d}\r\n%s", label, origin, len(content), content), nil
}

// nstring writes text, and NIL for none. What is not ASCII is an encoded-word.
func nstring(text string) string {
	if text == "" {
		return "NIL"
	}
	return quote(mime.QEncoding.Encode("utf-8", text))
}

func envelope(e *imap.Envelope) string {
	date := "NIL"
	if !e.Date.IsZero() {
		date = quote(e.Date.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	}
	from := e.From
	or := func(list []imap.Address) []imap.Address {
		if len(list) == 0 {
			return from
		}
		return list
	}
	ids := make([]string, len(e.InReplyTo))
	for i, id := range e.InReplyTo {
		ids[i] = "<" + id + ">"
	}
	id := e.MessageID
	if id != "" {
		id = "<" + id + ">"
	}
	return fmt.Sprintf("(%s %s %s %s %s %s %s %s %s %s)", date, nstring(e.Subject), addresses(from), addresses(or(e.Sender)),
		addresses(or(e.ReplyTo)), addresses(e.To), addresses(e.Cc), addresses(e.Bcc), nstring(strings.Join(ids, " ")), nstring(id))
}

func addresses(list []imap.Address) string {
	if len(list) == 0 {
		return "NIL"
	}
	var b strings.Builder
	for _, a := range list {
		fmt.Fprintf(&b, "(%s NIL %s %s)", nstring(a.Name), nstring(a.Mailbox), nstring(a.Host))
	}
	return "(" + b.String() + ")"
}

// structure writes BODYSTRUCTURE, or BODY without the extension data.
func structure(bs imap.BodyStructure, extended bool) string {
	var b strings.Builder
	switch bs := bs.(type) {
	case *imap.BodyStructureMultiPart:
		b.WriteByte('(')
		for _, child := range bs.Children {
			b.WriteString(structure(child, extended))
		}
		b.WriteString(" " + quote(strings.ToUpper(bs.Subtype)))
		if extended && bs.Extended != nil {
			fmt.Fprintf(&b, " %s %s NIL", parameters(bs.Extended.Params), disposition(bs.Extended.Disposition))
		}
	case *imap.BodyStructureSinglePart:
		encoding := bs.Encoding
		if encoding == "" {
			encoding = "7BIT"
		}
		fmt.Fprintf(&b, "(%s %s %s %s %s %s %d", quote(strings.ToUpper(bs.Type)), quote(strings.ToUpper(bs.Subtype)),
			parameters(bs.Params), nstring(bs.ID), nstring(bs.Description), quote(strings.ToUpper(encoding)), bs.Size)
		if inner := bs.MessageRFC822; inner != nil {
			fmt.Fprintf(&b, " %s %s %d", envelope(inner.Envelope), structure(inner.BodyStructure, extended), inner.NumLines)
		}
		if bs.Text != nil {
			fmt.Fprintf(&b, " %d", bs.Text.NumLines)
		}
		if extended && bs.Extended != nil {
			fmt.Fprintf(&b, " NIL %s NIL", disposition(bs.Extended.Disposition))
		}
	}
	b.WriteByte(')')
	return b.String()
}

func parameters(params map[string]string) string {
	if len(params) == 0 {
		return "NIL"
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		words = append(words, quote(strings.ToUpper(name)), quote(params[name]))
	}
	return "(" + strings.Join(words, " ") + ")"
}

func disposition(d *imap.BodyStructureDisposition) string {
	if d == nil {
		return "NIL"
	}
	return fmt.Sprintf("(%s %s)", quote(strings.ToUpper(d.Value)), parameters(d.Params))
}
