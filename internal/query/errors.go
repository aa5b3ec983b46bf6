package query

import "fmt"

// Place is where in a filter something stands.
type Place struct {
	// Pos is the byte, counted from 0.
	Pos int
	// Column is the character, counted from 1.
	Column int
}

// SyntaxError says that a filter is not well-formed, or names a field or value
// that there is not.
type SyntaxError struct {
	// Place is where the fault was noticed.
	Place
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at character %d: %s", e.Column, e.Reason)
}

// UnsupportedError says that a filter is well-formed and cannot be carried
// out by this server.
type UnsupportedError struct {
	// Place is that of the term that cannot.
	Place
	Reason string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("at character %d: %s", e.Column, e.Reason)
}

func syntax(p Place, format string, args ...any) error {
	return &SyntaxError{Place: p, Reason: fmt.Sprintf(format, args...)}
}

// Syntax says that a term makes no sense.
func (t Term) Syntax(format string, args ...any) error { return syntax(t.Place, format, args...) }

// Unsupported says that a term makes sense and cannot be searched by.
func (t Term) Unsupported(format string, args ...any) error {
	return &UnsupportedError{Place: t.Place, Reason: fmt.Sprintf(format, args...)}
}
