// Package invalid says what is wrong with settings that somebody gave, field by field.
package invalid

import (
	"fmt"
	"strings"
)

// Field is what is wrong with one field.
type Field struct {
	// Name is the path of the field in the API's spelling, such as "imap.port".
	Name        string
	Description string
}

// Fields collects what is wrong. The zero value is that nothing is.
type Fields []Field

// Check notes what is wrong with a field unless ok.
func (f *Fields) Check(ok bool, name, format string, args ...any) {
	if !ok {
		*f = append(*f, Field{Name: name, Description: fmt.Sprintf(format, args...)})
	}
}

// Err is an [*Error] of what was found in a resource, such as an "account"; nil where
// nothing was.
func (f Fields) Err(resource string) error {
	if len(f) == 0 {
		return nil
	}
	return &Error{Resource: resource, Fields: f}
}

// Error lists all that is wrong with the settings of a resource.
type Error struct {
	Resource string
	Fields   Fields
}

func (e *Error) Error() string { return "invalid " + e.Resource + ": " + e.Problems() }

// Problems lists the fields, each with what is wrong with it.
func (e *Error) Problems() string {
	parts := make([]string, len(e.Fields))
	for i, field := range e.Fields {
		parts[i] = field.Name + ": " + field.Description
	}
	return strings.Join(parts, "; ")
}
