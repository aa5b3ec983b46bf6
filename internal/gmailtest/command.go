package gmailtest

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// value is an argument of a command: a word, a string, or a list.
type value struct {
	text   string
	quoted bool // a quoted string or a literal
	list   []value
	isList bool
}

// upper is the word in upper case.
func (v value) upper() string { return strings.ToUpper(v.text) }

var errSyntax = errors.New("syntax error")

// maxLiteral is Gmail's APPENDLIMIT.
const maxLiteral = 35_651_584

// commandReader reads commands, and asks for the literals in them.
type commandReader struct {
	r *bufio.Reader
	// goOn answers a literal that the client waits to send.
	goOn func() error
}

// line reads a line that is not a command: an answer to AUTHENTICATE, or DONE.
func (c *commandReader) line() (string, error) {
	text, err := c.r.ReadString('\n')
	return strings.TrimRight(text, "\r\n"), err
}

// command reads a whole command.
func (c *commandReader) command() ([]value, error) { return c.values(false) }

// values reads up to the end of the line, or of the list.
func (c *commandReader) values(inList bool) ([]value, error) {
	var all []value
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return nil, err
		}
		var v value
		switch b {
		case ' ', '\r':
			continue
		case '\n':
			if inList {
				return nil, errSyntax
			}
			return all, nil
		case ')':
			if !inList {
				return nil, c.skipLine()
			}
			return all, nil
		case '(':
			v.isList = true
			v.list, err = c.values(true)
		case '"':
			v.quoted = true
			v.text, err = c.quotedString()
		case '{':
			v.quoted = true
			v.text, err = c.literal()
		default:
			if err = c.r.UnreadByte(); err == nil {
				v.text, err = c.word()
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

func (c *commandReader) skipLine() error {
	if _, err := c.line(); err != nil {
		return err
	}
	return errSyntax
}

func (c *commandReader) quotedString() (string, error) {
	var b strings.Builder
	for {
		ch, err := c.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case ch == '"':
			return b.String(), nil
		case ch == '\r' || ch == '\n':
			return "", errSyntax
		case ch == '\\':
			if ch, err = c.r.ReadByte(); err != nil {
				return "", err
			}
		}
		b.WriteByte(ch)
	}
}

// literal reads a literal behind its "{". LITERAL- lets short ones come
// unasked.
func (c *commandReader) literal() (string, error) {
	head, err := c.line()
	if err != nil {
		return "", err
	}
	digits, ok := strings.CutSuffix(head, "}")
	digits, unasked := strings.CutSuffix(digits, "+")
	n, err := strconv.Atoi(digits)
	if err != nil || !ok || n < 0 || n > maxLiteral {
		return "", errSyntax
	}
	if !unasked {
		if err := c.goOn(); err != nil {
			return "", err
		}
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(c.r, buf)
	return string(buf), err
}

// word reads an atom, with what stands in square brackets in it.
func (c *commandReader) word() (string, error) {
	var b strings.Builder
	inBrackets := false
	for {
		ch, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch {
		case ch == '[':
			inBrackets = true
		case ch == ']':
			inBrackets = false
		case ch == '\r' || ch == '\n' || !inBrackets && (ch == ' ' || ch == '(' || ch == ')'):
			return b.String(), c.r.UnreadByte()
		}
		b.WriteByte(ch)
	}
}
