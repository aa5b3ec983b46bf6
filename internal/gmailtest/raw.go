package gmailtest

import (
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// rawQuery is Gmail's own search language, as far as tests need it: words and
// phrases, "-", OR, and the operators from, to, subject, label, in, is, has and
// rfc822msgid.
func rawQuery(text string) test {
	var all []test
	either := false
	for _, term := range rawTerms(text) {
		if term == "OR" {
			either = len(all) > 0
			continue
		}
		t := rawTerm(term)
		if n := len(all); either {
			before := all[n-1]
			all[n-1] = func(m numbered) bool { return before(m) || t(m) }
			either = false
			continue
		}
		all = append(all, t)
	}
	return func(m numbered) bool {
		for _, t := range all {
			if !t(m) {
				return false
			}
		}
		return true
	}
}

// rawTerms cuts a query at spaces outside of quotes.
func rawTerms(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

func rawTerm(term string) test {
	if rest, negated := strings.CutPrefix(term, "-"); negated {
		t := rawTerm(rest)
		return func(m numbered) bool { return !t(m) }
	}
	operator, operand, ok := strings.Cut(term, ":")
	operand = strings.Trim(operand, `"`)
	if !ok {
		return inText(strings.Trim(term, `"`), true)
	}
	switch strings.ToLower(operator) {
	case "from", "to", "cc", "bcc", "subject":
		return inHeader(operator, operand)
	case "rfc822msgid":
		return inHeader("Message-Id", operand)
	case "label":
		return func(m numbered) bool { return hasLabel(m.message, operand) || hasLabel(m.message, `\`+operand) }
	case "in":
		return func(m numbered) bool {
			return strings.EqualFold(operand, "anywhere") || hasLabel(m.message, `\`+operand) || hasLabel(m.message, operand)
		}
	case "is":
		switch strings.ToLower(operand) {
		case "unread":
			return hasFlag(imap.FlagSeen, false)
		case "read":
			return hasFlag(imap.FlagSeen, true)
		case "starred":
			return hasFlag(imap.FlagFlagged, true)
		}
	case "has":
		return func(m numbered) bool {
			return strings.EqualFold(operand, "attachment") &&
				hasAttachment(imapserver.ExtractBodyStructure(strings.NewReader(string(m.raw))))
		}
	}
	return func(numbered) bool { return false }
}

func hasAttachment(bs imap.BodyStructure) bool {
	found := false
	bs.Walk(func(_ []int, part imap.BodyStructure) bool {
		if d := part.Disposition(); d != nil && strings.EqualFold(d.Value, "attachment") {
			found = true
		}
		return !found
	})
	return found
}
