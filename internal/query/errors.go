package query

import "fmt"

// SyntaxError says that a filter is not well-formed, or names a field or value
// that there is not.
type SyntaxError struct {
	// Pos is the byte in the filter at which the fault was noticed.
	Pos    int
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at character %d: %s", e.Pos+1, e.Reason)
}

// UnsupportedError says that a filter is well-formed and cannot be carried
// out by this server.
type UnsupportedError struct {
	Pos    int
	Reason string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("at character %d: %s", e.Pos+1, e.Reason)
}
