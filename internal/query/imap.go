package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// capGmail is Gmail's extension to IMAP.
const capGmail imap.Cap = "X-GM-EXT-1"

// Criteria turns a filter into the IMAP SEARCH (RFC 9051 section 6.4.4) that
// finds the same messages, on a server with these capabilities. It fails with a [*SyntaxError] for fields and values
// that there are not, and with an [*UnsupportedError] for what the
// server cannot search.
//
// Days are the mail server's: IMAP compares the date of a message as the
// server stores it, without regard to time and time zone.
func Criteria(e Expr, caps imap.CapSet) (*imapwire.SearchCriteria, error) {
	b := builder{caps: caps}
	c := &imapwire.SearchCriteria{}
	if err := b.add(c, e); err != nil {
		return nil, err
	}
	return c, nil
}

// builder knows what the server can do.
type builder struct{ caps imap.CapSet }

// add narrows c by e.
func (b builder) add(c *imapwire.SearchCriteria, e Expr) error {
	switch e := e.(type) {
	case And:
		for _, part := range e {
			if err := b.add(c, part); err != nil {
				return err
			}
		}
		return nil
	case Or:
		return b.addOr(c, e)
	case Not:
		var inner imapwire.SearchCriteria
		if err := b.add(&inner, e.Expr); err != nil {
			return err
		}
		c.Not = append(c.Not, inner)
		return nil
	case Term:
		return b.addTerm(c, e)
	}
	return fmt.Errorf("filter has an unknown node %T", e)
}

// addOr takes alternatives; IMAP's OR takes two.
func (b builder) addOr(c *imapwire.SearchCriteria, parts Or) error {
	if len(parts) < 2 {
		return b.add(c, And(parts))
	}
	each := make([]imapwire.SearchCriteria, len(parts))
	for i, part := range parts {
		if err := b.add(&each[i], part); err != nil {
			return err
		}
	}
	c.Or = append(c.Or, pair(each))
	return nil
}

// pair halves the alternatives, so that nesting grows with the logarithm of
// their number: servers recurse over it.
func pair(each []imapwire.SearchCriteria) [2]imapwire.SearchCriteria {
	half := func(part []imapwire.SearchCriteria) imapwire.SearchCriteria {
		if len(part) == 1 {
			return part[0]
		}
		return imapwire.SearchCriteria{Or: [][2]imapwire.SearchCriteria{pair(part)}}
	}
	middle := len(each) / 2
	return [2]imapwire.SearchCriteria{half(each[:middle]), half(each[middle:])}
}

// objectID is the form of an identifier (RFC 8474 section 7).
var objectID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// headers are the fields that are one header, by the names that the API has
// for them.
var headers = map[string]string{
	"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject", "sender": "Sender",
	"reply_to": "Reply-To", "message_id": "Message-ID", "in_reply_to": "In-Reply-To", "references": "References",
}

func (b builder) addTerm(c *imapwire.SearchCriteria, t Term) error {
	field := strings.ToLower(t.Field)
	if name, ok := headers[field]; ok {
		return addHeader(c, t, name)
	}
	if name, ok := strings.CutPrefix(field, "header."); ok {
		return addHeader(c, t, t.Field[len(t.Field)-len(name):])
	}
	switch field {
	case "", "text":
		if err := contains(t); err != nil {
			return err
		}
		c.Text = append(c.Text, t.Value)
	case "body":
		if err := contains(t); err != nil {
			return err
		}
		c.Body = append(c.Body, t.Value)
	case "is":
		return addIs(c, t)
	case "flag", "flags", "keyword":
		return addFlag(c, t)
	case "before", "after", "on", "internal_date", "date":
		return addDate(c, t, field)
	case "size", "larger", "smaller":
		return addSize(c, t, field)
	case "gmail_raw", "label", "labels", "has":
		return b.addGmail(c, t, field)
	case "email_id":
		if !b.caps.Has(imap.CapObjectID) {
			return unsearchable(t)
		}
		if !objectID.MatchString(t.Value) || (t.Op != ":" && t.Op != "=") {
			return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not the id of a message", t.Value)}
		}
		c.EmailID = append(c.EmailID, t.Value)
	case "thread", "filename", "in", "folder", "snippet":
		return unsearchable(t)
	default:
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("there is no field %q to filter on", t.Field)}
	}
	return nil
}

func unsearchable(t Term) error {
	return &UnsupportedError{Pos: t.Pos, Reason: fmt.Sprintf("the mail server cannot search by %q", t.Field+t.Op+t.Value)}
}

// addGmail narrows by what only Gmail can search.
func (b builder) addGmail(c *imapwire.SearchCriteria, t Term, field string) error {
	if !b.caps.Has(capGmail) {
		return unsearchable(t)
	}
	if err := contains(t); err != nil {
		return err
	}
	switch {
	case field == "gmail_raw":
		c.GmailRaw = append(c.GmailRaw, t.Value)
	case field != "has":
		c.GmailLabels = append(c.GmailLabels, t.Value)
	case strings.EqualFold(t.Value, "attachment"):
		c.GmailRaw = append(c.GmailRaw, "has:attachment")
	default:
		return unsearchable(t)
	}
	return nil
}

// contains refuses comparisons of text other than "has in it": IMAP has no
// other, and passing off one for the other would be a wrong answer.
func contains(t Term) error {
	switch t.Op {
	case ":", "":
	case "=", "!=":
		return &UnsupportedError{Pos: t.Pos, Reason: fmt.Sprintf(
			"the mail server can only look for text that contains another: write %s:%q", t.Field, t.Value)}
	default:
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q does not go with the field %q", t.Op, t.Field)}
	}
	if t.Value == "" {
		return &SyntaxError{Pos: t.Pos, Reason: "the value is empty"}
	}
	return nil
}

func addHeader(c *imapwire.SearchCriteria, t Term, name string) error {
	if err := contains(t); err != nil {
		return err
	}
	// RFC 5322 section 3.6.8: a field name is printable ASCII without colon.
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not the name of a header", name)}
	}
	c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: name, Value: t.Value})
	return nil
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

func addIs(c *imapwire.SearchCriteria, t Term) error {
	state, ok := states[strings.ToLower(t.Value)]
	if !ok || (t.Op != ":" && t.Op != "=") {
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf(
			"%q is not a state: there are unread, read, flagged, unflagged, answered, unanswered, draft and deleted", t.Value)}
	}
	if state.set {
		c.Flag = append(c.Flag, state.flag)
	} else {
		c.NotFlag = append(c.NotFlag, state.flag)
	}
	return nil
}

// systemFlags are those that a search has a key for.
var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

func addFlag(c *imapwire.SearchCriteria, t Term) error {
	system := slices.ContainsFunc(systemFlags, func(f imap.Flag) bool { return strings.EqualFold(string(f), t.Value) })
	// RFC 9051 section 9: a keyword is an atom, which these are not in.
	if t.Value == "" || !system && strings.ContainsFunc(t.Value, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r)
	}) {
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not a flag that can be searched", t.Value)}
	}
	switch t.Op {
	case ":", "=":
		c.Flag = append(c.Flag, imap.Flag(t.Value))
	case "!=":
		c.NotFlag = append(c.NotFlag, imap.Flag(t.Value))
	default:
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q does not go with flags", t.Op)}
	}
	return nil
}
