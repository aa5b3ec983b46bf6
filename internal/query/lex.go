package query

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type kind int

const (
	kindEnd    kind = iota
	kindText        // a run of characters without special meaning
	kindString      // a quoted string, unquoted
	kindOp          // a comparator
	kindOpen
	kindClose
	kindMinus
)

type token struct {
	kind kind
	text string
	Place
	// spaced says that white space stands before the token.
	spaced bool
}

// String names the token in a message.
func (t token) String() string {
	switch t.kind {
	case kindEnd:
		return "the end"
	case kindString:
		return "a string"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a filter into tokens.
type lexer struct {
	text string
	pos  int
}

const (
	spaces = " \t\r\n"
	// An apostrophe within a word is part of it; only at the beginning is it a
	// quote.
	specials = "()\"=<>!:"
)

// next reads a token where a field or a bare value may stand.
func (l *lexer) next() (token, error) {
	t := l.begin()
	if l.pos == len(l.text) {
		return t, nil
	}
	switch c := l.text[l.pos]; c {
	case '(':
		return l.take(t, kindOpen, 1), nil
	case ')':
		return l.take(t, kindClose, 1), nil
	case '"', '\'':
		return l.quoted(t)
	case ':', '=':
		return l.take(t, kindOp, 1), nil
	case '<', '>', '!':
		n := 1
		if strings.HasPrefix(l.text[l.pos+1:], "=") {
			n = 2
		}
		if c == '!' && n == 1 {
			return t, syntax(t.Place, `"!" must be followed by "="`)
		}
		return l.take(t, kindOp, n), nil
	case '-':
		return l.take(t, kindMinus, 1), nil
	}
	return l.run(t, spaces+specials), nil
}

// value reads a token where only a value may stand, that is behind a
// comparator: there colons, signs and dashes are part of it, as in times.
func (l *lexer) value() (token, error) {
	t := l.begin()
	if l.pos == len(l.text) {
		return t, nil
	}
	switch l.text[l.pos] {
	case '(':
		return l.take(t, kindOpen, 1), nil
	case ')':
		return l.take(t, kindClose, 1), nil
	case '"', '\'':
		return l.quoted(t)
	}
	return l.run(t, spaces+"()\""), nil
}

// begin skips white space.
func (l *lexer) begin() token {
	start := l.pos
	for l.pos < len(l.text) && strings.IndexByte(spaces, l.text[l.pos]) >= 0 {
		l.pos++
	}
	return token{kind: kindEnd, Place: placeOf(l.text, l.pos), spaced: l.pos > start}
}

// placeOf is the place of a byte.
func placeOf(text string, pos int) Place {
	return Place{Pos: pos, Column: utf8.RuneCountInString(text[:pos]) + 1}
}

func (l *lexer) take(t token, k kind, n int) token {
	t.kind, t.text = k, l.text[l.pos:l.pos+n]
	l.pos += n
	return t
}

// run reads up to one of the stop characters; at least one byte.
func (l *lexer) run(t token, stop string) token {
	n := strings.IndexAny(l.text[l.pos:], stop)
	if n < 0 {
		n = len(l.text) - l.pos
	}
	return l.take(t, kindText, max(n, 1))
}

// quoted reads a string in either kind of quotes; a backslash takes the next
// character as it is.
func (l *lexer) quoted(t token) (token, error) {
	quote := l.text[l.pos]
	var b strings.Builder
	for i := l.pos + 1; i < len(l.text); i++ {
		switch c := l.text[i]; c {
		case quote:
			t.kind, t.text = kindString, b.String()
			l.pos = i + 1
			return t, nil
		case '\\':
			if i++; i == len(l.text) {
				return t, syntax(t.Place, "the string does not end")
			}
			b.WriteByte(l.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return t, syntax(t.Place, "the string does not end")
}

// checkText refuses what no value can hold: broken UTF-8, and the characters
// that no IMAP string can carry or that hide in a terminal.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return syntax(placeOf(text, 0), "the filter is not UTF-8")
	}
	if i := strings.IndexAny(text, "\x00\r\n"); i >= 0 {
		return syntax(placeOf(text, i), "the filter has a line break or a NUL in it")
	}
	return nil
}
