package submit

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that there is no such submission.
	ErrNotFound = errors.New("no such submission")
	// ErrConflict says that a submission was changed by somebody else meanwhile.
	ErrConflict = errors.New("the submission was changed meanwhile")
)

// StateError says that what was asked for does not fit the state of a submission.
type StateError struct {
	State State
	// Want says what it would have to be.
	Want string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("the submission is %s; it would have to be %s", e.State, e.Want)
}
