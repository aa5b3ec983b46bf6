package template

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

var (
	// ErrNotFound says that there is no such template.
	ErrNotFound = errors.New("no such template")
	// ErrExists says that the id of a new template is taken.
	ErrExists = errors.New("the template exists")
	// ErrEtagMismatch says that a template was changed since its etag was given.
	ErrEtagMismatch = errors.New("the template was changed meanwhile")
)

// SyntaxError says what is wrong with a template. Lines and columns count from 1, in
// characters; they are 0 where the fault has no place.
type SyntaxError struct {
	// Part is subject, text, html or url.
	Part         string
	Line, Column int
	Description  string
}

func (e *SyntaxError) Error() string {
	return e.Part + describe(e.Line, e.Column) + ": " + e.Description
}

// MissingError says that a template has no value for a name.
type MissingError struct {
	Part         string
	Line, Column int
	// Key is the name as the template has it.
	Key string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s%s: there is no value for %q", e.Part, describe(e.Line, e.Column), e.Key)
}

// RunError says why a template could not be filled in with values that are there.
type RunError struct {
	Part         string
	Line, Column int
	Description  string
}

func (e *RunError) Error() string { return e.Part + describe(e.Line, e.Column) + ": " + e.Description }

func describe(line, column int) string {
	switch {
	case line == 0:
		return ""
	case column == 0:
		return fmt.Sprintf(", line %d", line)
	}
	return fmt.Sprintf(", line %d, column %d", line, column)
}

// missingError is how index fails for a key that is not there.
type missingError struct{ key string }

func (e *missingError) Error() string { return fmt.Sprintf("there is no value for %q", e.key) }

// place gives the line and the column of an offset in a source.
func place(source string, at int) (line, column int) {
	before := source[:min(max(at, 0), len(source))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// located is the form in which the packages of templates say where something is:
// "template: text:3:7: what" or, when parsing, without the column.
var located = regexp.MustCompile(`(?s)^(?:html/)?template: ?[a-z]*:(\d+)(?::(\d+))?: (.*)$`)

// locate reads the place and the words out of an error. The column is in bytes and
// counts from 0, and is -1 where there is none.
func locate(err error) (line, column int, text string) {
	match := located.FindStringSubmatch(err.Error())
	if match == nil {
		return 0, -1, strings.TrimPrefix(strings.TrimPrefix(err.Error(), "html/"), "template: ")
	}
	line, _ = strconv.Atoi(match[1]) // it matches digits
	column = -1
	if match[2] != "" {
		column, _ = strconv.Atoi(match[2])
	}
	return line, column, match[3]
}

// inCharacters turns a column as locate gives it into one for people.
func inCharacters(source string, line, column int) int {
	if line == 0 || column < 0 {
		return 0
	}
	for range line - 1 {
		_, source, _ = strings.Cut(source, "\n")
	}
	return utf8.RuneCountInString(source[:min(column, len(source))]) + 1
}

// syntaxError makes one of an error of parsing.
func syntaxError(part, source string, err error) *SyntaxError {
	line, column, text := locate(err)
	e := &SyntaxError{Part: part, Line: line, Column: inCharacters(source, line, column), Description: text}
	var ambiguous *htmltemplate.Error
	if line > 0 && column < 0 && !errors.As(err, &ambiguous) {
		e.Line, e.Column = place(source, faultyAction(part, source, err.Error()))
	}
	return e
}

// faultyAction finds the action at which the parser, which says no more than the
// line, fails: the last one of the shortest source that fails in the same way. An
// end that is missing is missing at the end.
func faultyAction(part, source, failure string) int {
	var ends []int
	for at := 0; ; {
		next := strings.Index(source[at:], "}}")
		if next < 0 {
			break
		}
		at += next + len("}}")
		ends = append(ends, at)
	}
	ends = append(ends, len(source))
	if strings.Contains(failure, "unexpected EOF") {
		return len(source)
	}
	first := sort.Search(len(ends)-1, func(i int) bool {
		_, err := parse.Parse(part, source[:ends[i]], "", "", functions, builtins)
		return err != nil && err.Error() == failure
	})
	return max(strings.LastIndex(source[:ends[first]], "{{"), 0)
}
