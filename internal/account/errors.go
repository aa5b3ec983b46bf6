package account

import (
	"errors"
	"fmt"
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

// NotFoundError is [ErrNotFound] with the id that was asked for.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("account %q: %v", e.ID, ErrNotFound) }

// Is makes the error one with ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }
