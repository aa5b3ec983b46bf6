package folder

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a path that is made. Servers have narrower ones of their own and say
// so.
const (
	maxDepth   = 50
	maxSegment = 255
	maxName    = 1000
)

// PathError reports a path that no folder can be made at.
type PathError struct {
	// Segment is the index of the element that is at fault, -1 for the path as a
	// whole.
	Segment int
	Problem string
}

// Error implements error.
func (e *PathError) Error() string {
	if e.Segment < 0 {
		return "path: " + e.Problem
	}
	return fmt.Sprintf("path[%d]: %s", e.Segment, e.Problem)
}

// CleanPath checks a path at which a folder is to be made on a server with the
// given delimiter, and returns it in the form in which it is made: NFC, which is
// what mailbox names are to be in (RFC 9051 section 5.1). A first element that is
// INBOX in any case is INBOX. It fails with [*PathError].
func CleanPath(path []string, delimiter rune) ([]string, error) {
	switch {
	case len(path) == 0:
		return nil, &PathError{-1, "give at least one element"}
	case len(path) > maxDepth:
		return nil, &PathError{-1, fmt.Sprintf("give at most %d elements", maxDepth)}
	case len(path) > 1 && delimiter == 0:
		return nil, &PathError{-1, "the mail server has no folders below folders: give one element"}
	}
	clean := make([]string, len(path))
	total := 0
	for i, segment := range path {
		segment = norm.NFC.String(segment)
		if i == 0 && strings.EqualFold(segment, "INBOX") {
			segment = "INBOX"
		}
		if problem := segmentProblem(segment, delimiter); problem != "" {
			return nil, &PathError{i, problem}
		}
		total += len(segment) + 1
		clean[i] = segment
	}
	if total > maxName {
		return nil, &PathError{-1, fmt.Sprintf("it is longer than %d bytes", maxName)}
	}
	return clean, nil
}

func segmentProblem(segment string, delimiter rune) string {
	switch {
	case segment == "":
		return "an element must not be empty"
	case len(segment) > maxSegment:
		return fmt.Sprintf("an element has at most %d bytes", maxSegment)
	case !utf8.ValidString(segment):
		return "it is not UTF-8"
	case strings.ContainsFunc(segment, unbefitting):
		return "it has a control character or a line separator"
	case delimiter != 0 && strings.ContainsRune(segment, delimiter):
		return fmt.Sprintf("it has a %q, which on this mail server separates folders: leave it out, or give two elements", string(delimiter))
	}
	return ""
}

// unbefitting: RFC 5198 section 2 rules out control characters and the separators
// of lines and paragraphs, and RFC 9051 section 5.1 refers to it.
func unbefitting(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
