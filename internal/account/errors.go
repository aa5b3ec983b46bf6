package account

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotFound says that there is no such account.
	ErrNotFound = errors.New("account not found")
	// ErrExists says that the id of a new account is taken.
	ErrExists = errors.New("account already exists")
	// ErrEtagMismatch says that the settings have changed since the etag was
	// given out.
	ErrEtagMismatch = errors.New("the account has been changed by somebody else: read it again")
	// ErrPaused says that something was asked for that a paused account does not
	// do.
	ErrPaused = errors.New("the account is paused")
	// ErrUnreadable says that a stored account cannot be read: it is damaged,
	// or written by a later version of Postern.
	ErrUnreadable = errors.New("stored account cannot be read")
)

// FieldError says what is wrong with one field. Field is a path in the API's
// spelling, such as "imap.port".
type FieldError struct {
	Field       string
	Description string
}

// ValidationError lists all that is wrong with an account's settings.
type ValidationError struct {
	Fields []FieldError
}

func (e *ValidationError) Error() string {
	return "invalid account: " + e.Problems()
}

// Problems lists the fields, each with what is wrong with it.
func (e *ValidationError) Problems() string {
	parts := make([]string, len(e.Fields))
	for i, field := range e.Fields {
		parts[i] = field.Field + ": " + field.Description
	}
	return strings.Join(parts, "; ")
}

// NotFoundError is [ErrNotFound] with the id that was asked for.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("account %q: %v", e.ID, ErrNotFound) }

// Is makes the error one with ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }
