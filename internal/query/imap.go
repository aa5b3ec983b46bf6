package query

import (
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Criteria turns a filter into the IMAP SEARCH (RFC 9051 section 6.4.4) that
// finds the same messages. It fails with a [*SyntaxError] for fields and values
// that there are not, and with an [*UnsupportedError] for what IMAP cannot
// search.
//
// Days are the mail server's: IMAP compares the date of a message as the
// server stores it, without regard to time and time zone.
func Criteria(e Expr) (*imap.SearchCriteria, error) {
	c := &imap.SearchCriteria{}
	if err := add(c, e); err != nil {
		return nil, err
	}
	return c, nil
}

// add narrows c by e.
func add(c *imap.SearchCriteria, e Expr) error {
	switch e := e.(type) {
	case And:
		for _, part := range e {
			if err := add(c, part); err != nil {
				return err
			}
		}
		return nil
	case Or:
		return addOr(c, e)
	case Not:
		inner, err := Criteria(e.Expr)
		if err != nil {
			return err
		}
		c.Not = append(c.Not, *inner)
		return nil
	case Term:
		return addTerm(c, e)
	}
	return fmt.Errorf("filter has an unknown node %T", e)
}

// addOr nests: IMAP's OR takes two.
func addOr(c *imap.SearchCriteria, parts Or) error {
	if len(parts) < 2 {
		return add(c, And(parts))
	}
	each := make([]imap.SearchCriteria, len(parts))
	for i, part := range parts {
		if err := add(&each[i], part); err != nil {
			return err
		}
	}
	last := each[len(each)-1]
	for i := len(each) - 2; i >= 0; i-- {
		last = imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{each[i], last}}}
	}
	c.Or = append(c.Or, last.Or...)
	return nil
}

// headers are the fields that are one header, by the names that the API has
// for them.
var headers = map[string]string{
	"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject", "sender": "Sender",
	"reply_to": "Reply-To", "message_id": "Message-ID", "in_reply_to": "In-Reply-To", "references": "References",
}

func addTerm(c *imap.SearchCriteria, t Term) error {
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
	case "has", "label", "labels", "gmail_raw", "thread", "filename", "in", "folder", "snippet", "email_id":
		return &UnsupportedError{Pos: t.Pos, Reason: fmt.Sprintf("the mail server cannot search by %q", t.Field+t.Op+t.Value)}
	default:
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("there is no field %q to filter on", t.Field)}
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

func addHeader(c *imap.SearchCriteria, t Term, name string) error {
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

func addIs(c *imap.SearchCriteria, t Term) error {
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

func addFlag(c *imap.SearchCriteria, t Term) error {
	name := strings.TrimPrefix(t.Value, `\`)
	// RFC 9051 section 9: a flag is an atom. The characters that an atom
	// cannot have are refused here, so that nobody needs to quote them.
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r)
	}) {
		return &SyntaxError{Pos: t.Pos, Reason: fmt.Sprintf("%q is not a flag", t.Value)}
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
