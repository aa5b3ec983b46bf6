package query

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// capGmail is Gmail's extension to IMAP.
const capGmail imap.Cap = "X-GM-EXT-1"

// headers are the fields that are one header, by the names that the API has
// for them.
var headers = map[string]string{
	"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject", "sender": "Sender",
	"reply_to": "Reply-To", "message_id": "Message-ID", "in_reply_to": "In-Reply-To", "references": "References",
}

// canonicalField is a field in the form of the proto files; JSON's is as good.
func canonicalField(name string) string {
	var b strings.Builder
	for _, r := range name {
		if 'A' <= r && r <= 'Z' {
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "_") && name != strings.ToUpper(name) {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// term plans one comparison.
func (p planner) term(t Term) (node, error) {
	if name, ok := cutPrefixFold(t.Field, "header."); ok {
		return p.header(t, name)
	}
	field := canonicalField(t.Field)
	if base, part, ok := strings.Cut(field, "."); ok && (part == "address" || part == "name") && addressFields[base] {
		return p.addressPart(t, headers[base], part)
	}
	if name, ok := headers[field]; ok {
		return p.header(t, name)
	}
	switch field {
	case "", "text", "body":
		return p.text(t, field)
	case "is":
		return isState(t)
	case "flag", "flags", "keyword", "keywords":
		return hasFlag(t)
	case "before", "after", "on", "internal_date", "date", "newer_than", "older_than":
		return p.date(t, field)
	case "size", "larger", "smaller":
		return size(t, field)
	case "has", "filename":
		return p.attachment(t, field)
	case "uid":
		return uid(t)
	case "gmail_raw", "label", "labels":
		return p.gmail(t, field)
	case "email_id", "thread":
		return p.id(t, field)
	case "in", "folder":
		return node{}, t.Unsupported("a folder is named apart from the filter, in the field folder of the request")
	case "snippet":
		return node{}, p.unsearchable(t)
	}
	return node{}, t.Syntax("there is no field %q to filter on", t.Field)
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return "", false
}

func (p planner) unsearchable(t Term) error {
	return t.Unsupported("the mail server cannot search by %q", t.Field+t.Op+t.Value)
}

// equals refuses an order where there is none.
func equals(t Term) (negated bool, err error) {
	switch t.Op {
	case ":", "=":
		return false, nil
	case "!=":
		return true, nil
	}
	return false, t.Syntax("%q does not go with the field %q", t.Op, t.Field)
}

func negateIf(negated bool, n node) node {
	if negated {
		return noneOf(n)
	}
	return n
}

// states are the values of "is:".
var states = map[string]struct {
	flag imap.Flag
	set  bool
}{
	"read": {imap.FlagSeen, true}, "seen": {imap.FlagSeen, true},
	"unread": {imap.FlagSeen, false}, "unseen": {imap.FlagSeen, false},
	"flagged": {imap.FlagFlagged, true}, "starred": {imap.FlagFlagged, true}, "unflagged": {imap.FlagFlagged, false},
	"answered": {imap.FlagAnswered, true}, "unanswered": {imap.FlagAnswered, false},
	"draft": {imap.FlagDraft, true}, "deleted": {imap.FlagDeleted, true},
}

func isState(t Term) (node, error) {
	state, ok := states[strings.ToLower(t.Value)]
	if !ok || (t.Op != ":" && t.Op != "=") {
		return node{}, t.Syntax(
			"%q is not a state: there are unread, read, flagged, unflagged, answered, unanswered, draft and deleted", t.Value)
	}
	return flagNode(state.flag, state.set), nil
}

func flagNode(flag imap.Flag, set bool) node {
	c := &Criteria{}
	if set {
		c.Flag = []imap.Flag{flag}
	} else {
		c.NotFlag = []imap.Flag{flag}
	}
	return exactly(c)
}

// systemFlags are those that a search has a key for.
var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

func hasFlag(t Term) (node, error) {
	system := slices.ContainsFunc(systemFlags, func(f imap.Flag) bool { return strings.EqualFold(string(f), t.Value) })
	// RFC 9051 section 9: a keyword is an atom, which these are not in.
	if t.Value == "" || !system && strings.ContainsFunc(t.Value, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r)
	}) {
		return node{}, t.Syntax("%q is not a flag that can be searched", t.Value)
	}
	negated, err := equals(t)
	return flagNode(imap.Flag(t.Value), !negated), err
}

// uid takes numbers, ranges such as 100:200 and 100:*, and lists of them.
func uid(t Term) (node, error) {
	const highest = 1<<32 - 1
	number := func(text string) (imap.UID, error) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 {
			return 0, t.Syntax("%q is not a UID, nor a set of them such as 1:100,205", t.Value)
		}
		return imap.UID(n), nil
	}
	var set imap.UIDSet
	add := func(low, high imap.UID) { set.AddRange(min(low, high), max(low, high)) }
	switch t.Op {
	case ":", "=", "!=":
		for piece := range strings.SplitSeq(t.Value, ",") {
			first, last, isRange := strings.Cut(piece, ":")
			low, err := number(first)
			high := low
			switch {
			case err != nil:
			case isRange && last == "*":
				// Not "*", which is the last message whatever its UID.
				high = highest
			case isRange:
				high, err = number(last)
			}
			if err != nil {
				return node{}, err
			}
			add(low, high)
		}
	default:
		n, err := number(t.Value)
		if err != nil {
			return node{}, err
		}
		switch t.Op {
		case ">=":
			add(n, highest)
		case "<=":
			add(1, n)
		case ">":
			if n < highest {
				add(n+1, highest)
			}
		case "<":
			if n > 1 {
				add(1, n-1)
			}
		}
	}
	if len(set) == 0 {
		return noneOf(exactly(&Criteria{})), nil
	}
	c := &Criteria{}
	c.UID = []imap.UIDSet{set}
	return negateIf(t.Op == "!=", exactly(c)), nil
}

// Uses reports whether a filter has a term of the field.
func Uses(e Expr, field string) bool {
	inAny := func(list []Expr) bool {
		return slices.ContainsFunc(list, func(part Expr) bool { return Uses(part, field) })
	}
	switch e := e.(type) {
	case And:
		return inAny(e)
	case Or:
		return inAny(e)
	case Not:
		return Uses(e.Expr, field)
	case Term:
		return strings.EqualFold(e.Field, field)
	}
	return false
}

// objectID is the form of an identifier (RFC 8474 section 7).
var objectID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// id searches by the ids that the server gives to mail and to conversations.
func (p planner) id(t Term, field string) (node, error) {
	negated, err := equals(t)
	if err != nil {
		return node{}, err
	}
	c := &Criteria{}
	switch {
	case field == "thread":
		return node{}, t.Unsupported("the messages of a thread are those of its resource: get it")
	case p.Caps.Has(imap.CapObjectID):
		if !objectID.MatchString(t.Value) {
			return node{}, t.Syntax("%q is not the id of a message", t.Value)
		}
		c.EmailID = []string{t.Value}
	case p.Caps.Has(capGmail):
		n, err := strconv.ParseUint(t.Value, 16, 64)
		if err != nil {
			return node{}, t.Syntax("%q is not the id of a message", t.Value)
		}
		c.GmailMsgID = []uint64{n}
	default:
		return node{}, t.Unsupported("the mail server gives no ids to messages: look the message up by its email_id instead of searching for it")
	}
	return negateIf(negated, exactly(c)), nil
}

// gmailLabels are the system labels by the names that people know them by.
var gmailLabels = map[string]string{
	"inbox": `\Inbox`, "sent": `\Sent`, "important": `\Important`, "starred": `\Starred`, "draft": `\Draft`, "drafts": `\Draft`,
}

// gmail searches by what only Gmail has.
func (p planner) gmail(t Term, field string) (node, error) {
	if !p.Caps.Has(capGmail) {
		return node{}, p.unsearchable(t)
	}
	negated, err := equals(t)
	if err != nil {
		return node{}, err
	}
	if t.Value == "" {
		return node{}, t.Syntax("the value is empty")
	}
	c := &Criteria{}
	if field == "gmail_raw" {
		if p.ASCIIOnly && !isASCII(t.Value) {
			return node{}, p.unsearchable(t)
		}
		c.GmailRaw = []string{t.Value}
	} else {
		label := t.Value
		if system, ok := gmailLabels[strings.ToLower(label)]; ok {
			label = system
		}
		c.GmailLabels = []string{label}
	}
	return negateIf(negated, exactly(c)), nil
}

// attachment looks at what parts messages have. Gmail searches for that itself.
func (p planner) attachment(t Term, field string) (node, error) {
	negated, err := equals(t)
	if err != nil {
		return node{}, err
	}
	gmail := p.Caps.Has(capGmail) && (isASCII(t.Value) || !p.ASCIIOnly)
	c := &Criteria{}
	n := node{}
	switch {
	case field == "has" && !strings.EqualFold(t.Value, "attachment"):
		return node{}, t.Syntax("%q is nothing that a message can have: there is has:attachment", t.Value)
	case field == "has" && gmail:
		c.GmailRaw = []string{"has:attachment"}
		n = exactly(c)
	case field == "has":
		n.rest = look{needs: Needs{Structure: true}, test: func(f *Facts) bool { return f.Attached }}
	case t.Value == "":
		return node{}, t.Syntax("the value is empty")
	case t.Op == ":" && gmail:
		c.GmailRaw = []string{`filename:"` + strings.ReplaceAll(t.Value, `"`, " ") + `"`}
		n = exactly(c)
	default:
		wanted, whole := fold(t.Value), t.Op != ":"
		n.rest = look{needs: Needs{Structure: true}, test: func(f *Facts) bool {
			return slices.ContainsFunc(f.Filenames, func(name string) bool {
				name = fold(name)
				return name == wanted || !whole && strings.Contains(name, wanted)
			})
		}}
	}
	return negateIf(negated, n), nil
}
