package gmailtest

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-imap/v2"
	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
)

// test says whether a message matches.
type test func(numbered) bool

func (s *session) search(args []value, uid bool) (string, error) {
	var options []value
	if len(args) > 1 && args[0].upper() == "RETURN" && args[1].isList {
		options, args = args[1].list, args[2:]
		if len(options) == 0 {
			options = []value{{text: "ALL"}}
		}
	}
	if len(args) > 1 && args[0].upper() == "CHARSET" {
		if charset := args[1].upper(); charset != "UTF-8" && charset != "US-ASCII" {
			return "", no("[BADCHARSET (UTF-8 US-ASCII)] Unsupported charset (Failure)")
		}
		args = args[2:]
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	p := &searchParser{s: s, args: args}
	match, err := p.all()
	var refused refusal
	if err != nil && !errors.As(err, &refused) {
		err = bad("Could not parse command")
	}
	if err != nil {
		return "", err
	}
	var found []string
	for i, e := range s.shown {
		if m := (numbered{i + 1, e}); !e.gone && match(m) {
			found = append(found, m.in(uid))
		}
	}
	if options == nil {
		s.untagged("%s", strings.TrimRight("* SEARCH "+strings.Join(found, " "), " "))
		return "SEARCH completed (Success)", nil
	}
	s.untagged("* ESEARCH%s%s", map[bool]string{true: " UID"}[uid], extended(options, found))
	return "SEARCH completed (Success)", nil
}

// extended writes what RETURN asked for. Gmail's own order puts UID first, and
// so does this server; it leaves the tag out, which correlates nothing here.
func extended(options []value, found []string) string {
	var b strings.Builder
	for _, option := range options {
		switch name := option.upper(); {
		case name == "COUNT":
			fmt.Fprintf(&b, " COUNT %d", len(found))
		case len(found) == 0:
		case name == "MIN":
			fmt.Fprintf(&b, " MIN %s", found[0])
		case name == "MAX":
			fmt.Fprintf(&b, " MAX %s", found[len(found)-1])
		case name == "ALL":
			fmt.Fprintf(&b, " ALL %s", strings.Join(found, ","))
		}
	}
	return b.String()
}

// searchParser turns search keys into tests.
type searchParser struct {
	s    *session
	args []value
}

func (p *searchParser) next() value {
	if len(p.args) == 0 {
		return value{}
	}
	v := p.args[0]
	p.args = p.args[1:]
	return v
}

// all reads keys that all must match.
func (p *searchParser) all() (test, error) {
	var tests []test
	for len(p.args) > 0 {
		t, err := p.key()
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	return func(m numbered) bool {
		for _, t := range tests {
			if !t(m) {
				return false
			}
		}
		return true
	}, nil
}

// flagKeys are the keys for system flags.
var flagKeys = map[string]imap.Flag{
	"ANSWERED": imap.FlagAnswered, "DELETED": imap.FlagDeleted, "DRAFT": imap.FlagDraft,
	"FLAGGED": imap.FlagFlagged, "SEEN": imap.FlagSeen,
}

func (p *searchParser) key() (test, error) {
	v := p.next()
	if v.isList {
		return (&searchParser{s: p.s, args: v.list}).all()
	}
	name := v.upper()
	if flag, ok := flagKeys[strings.TrimPrefix(name, "UN")]; ok {
		return hasFlag(flag, !strings.HasPrefix(name, "UN")), nil
	}
	switch name {
	case "ALL":
		return func(numbered) bool { return true }, nil
	case "KEYWORD", "UNKEYWORD":
		return hasFlag(imap.Flag(p.next().text), name == "KEYWORD"), nil
	case "NOT":
		t, err := p.key()
		return func(m numbered) bool { return !t(m) }, err
	case "OR":
		a, err := p.key()
		if err != nil {
			return nil, err
		}
		b, err := p.key()
		return func(m numbered) bool { return a(m) || b(m) }, err
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		return inHeader(name, p.next().text), nil
	case "HEADER":
		field := p.next().text
		return inHeader(field, p.next().text), nil
	case "BODY", "TEXT":
		return inText(p.next().text, name == "TEXT"), nil
	case "LARGER", "SMALLER":
		n, err := strconv.Atoi(p.next().text)
		return func(m numbered) bool {
			return name == "LARGER" && len(m.raw) > n || name == "SMALLER" && len(m.raw) < n
		}, err
	case "UID":
		in, err := parseSet(p.next().text, p.s.lastUID())
		return func(m numbered) bool { return in(uint32(m.uid)) }, err
	}
	return p.otherKey(name)
}

func (s *session) lastUID() uint32 {
	if n := len(s.shown); n > 0 {
		return uint32(s.shown[n-1].uid)
	}
	return 0
}

func (p *searchParser) otherKey(name string) (test, error) {
	switch name {
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE":
		return byDay(name, p.next().text)
	case "MODSEQ":
		n, err := strconv.ParseUint(p.next().text, 10, 64)
		return func(m numbered) bool { return m.modSeq >= n }, err
	case "X-GM-MSGID", "X-GM-THRID":
		n, err := strconv.ParseUint(p.next().text, 10, 64)
		return func(m numbered) bool {
			return name == "X-GM-MSGID" && m.id == n || name == "X-GM-THRID" && m.thread == n
		}, err
	case "EMAILID", "THREADID":
		id := p.next().text
		return func(m numbered) bool {
			return name == "EMAILID" && id == fmt.Sprintf("M%d", m.id) || name == "THREADID" && id == fmt.Sprintf("T%d", m.thread)
		}, nil
	case "X-GM-LABELS":
		label := p.s.name(p.next())
		return func(m numbered) bool { return hasLabel(m.message, label) }, nil
	case "X-GM-RAW":
		return rawQuery(p.next().text), nil
	}
	if name != "" && (name[0] == '*' || unicode.IsDigit(rune(name[0]))) {
		in, err := parseSet(name, uint32(len(p.s.shown)))
		return func(m numbered) bool { return in(uint32(m.number)) }, err
	}
	return nil, bad("Could not parse command")
}

func hasFlag(flag imap.Flag, want bool) test {
	return func(m numbered) bool {
		for _, f := range m.allFlags() {
			if strings.EqualFold(string(f), string(flag)) {
				return want
			}
		}
		return !want
	}
}

// hasLabel compares as Gmail does, without regard to case.
func hasLabel(m *message, label string) bool {
	for l := range m.labels {
		if strings.EqualFold(l, label) {
			return true
		}
	}
	return false
}

// byDay compares days in Pacific time, as the account's zone is taken to be.
func byDay(name, text string) (test, error) {
	day, err := time.Parse("_2-Jan-2006", text)
	if err != nil {
		return nil, bad("Could not parse command")
	}
	kind, sent := strings.CutPrefix(name, "SENT")
	return func(m numbered) bool {
		at := m.arrived.In(accountZone)
		if sent {
			header := mail.Header{Header: readHeader(m)}
			at, _ = header.Date()
		}
		that := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
		switch kind {
		case "BEFORE":
			return that.Before(day)
		case "ON":
			return that.Equal(day)
		}
		return !that.Before(day)
	}, nil
}

// accountZone is the time zone that the account's days are in.
var accountZone = time.FixedZone("PST", -8*60*60)

func readHeader(m numbered) gomessage.Header { return gomessage.Header{Header: headerOf(m.raw)} }

// wordsOf cuts text into words in lower case.
func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// hasWords reports whether text has the words of a query one after the other:
// Gmail finds whole words only.
func hasWords(text, query string) bool {
	return strings.Contains(" "+strings.Join(wordsOf(text), " ")+" ", " "+strings.Join(wordsOf(query), " ")+" ")
}

func inHeader(field, query string) test {
	return func(m numbered) bool {
		header := readHeader(m)
		fields := header.FieldsByKey(field)
		for fields.Next() {
			text, err := fields.Text()
			if err != nil {
				text = fields.Value()
			}
			if query == "" || hasWords(text, query) {
				return true
			}
		}
		return false
	}
}

func inText(query string, withHeader bool) test {
	return func(m numbered) bool {
		if withHeader {
			header := readHeader(m)
			for fields := header.Fields(); fields.Next(); {
				if text, _ := fields.Text(); hasWords(text, query) {
					return true
				}
			}
		}
		return hasWords(textOf(m.raw), query)
	}
}

// textOf is the text of all parts that are text, decoded.
func textOf(raw []byte) string {
	e, err := gomessage.Read(strings.NewReader(string(raw)))
	if e == nil || err != nil && !gomessage.IsUnknownCharset(err) {
		return string(raw)
	}
	var b strings.Builder
	_ = e.Walk(func(_ []int, part *gomessage.Entity, err error) error {
		if err != nil || part == nil {
			return err
		}
		if kind, _, _ := part.Header.ContentType(); strings.HasPrefix(kind, "text/") {
			content, err := io.ReadAll(part.Body)
			b.Write(content)
			b.WriteByte('\n')
			return err
		}
		return nil
	})
	return b.String()
}

// parseSet reads a set of numbers; last is what "*" stands for.
func parseSet(text string, last uint32) (func(uint32) bool, error) {
	type span struct{ low, high uint32 }
	var spans []span
	number := func(s string) (uint32, error) {
		if s == "*" {
			return last, nil
		}
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err
	}
	for part := range strings.SplitSeq(text, ",") {
		first, second, isRange := strings.Cut(part, ":")
		low, err := number(first)
		high := low
		if err == nil && isRange {
			high, err = number(second)
		}
		if err != nil {
			return nil, bad("Could not parse command")
		}
		spans = append(spans, span{min(low, high), max(low, high)})
	}
	return func(n uint32) bool {
		for _, s := range spans {
			if s.low <= n && n <= s.high {
				return true
			}
		}
		return false
	}, nil
}
