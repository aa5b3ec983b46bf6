package eventlog

import (
	"fmt"

	"github.com/postern-mail/postern/internal/event"
)

// FencedError reports that somebody else has appended to the account. Whoever
// gets it may no longer own the account: make sure of that first, then take
// the account anew, with a new writer and a [Log.Replay]; never just try
// again.
type FencedError struct {
	Account  string
	Expected Head // what the writer built upon
	Actual   Head // what is there
}

// Error implements error.
func (e *FencedError) Error() string {
	return fmt.Sprintf("somebody else has appended to account %s: its head is event %d at %d, expected event %d at %d",
		e.Account, e.Actual.Number, e.Actual.Sequence, e.Expected.Number, e.Expected.Sequence)
}

// DuplicateError reports that an event with the same id is in the log already,
// before the head that the writer builds upon: the fact was announced, and the
// caller's idea of what was announced is wrong.
type DuplicateError struct {
	ID       string // empty when a batch was refused, which one of it is not told
	Sequence uint64 // of the stored event, where it is told
	cause    error
}

// Error implements error.
func (e *DuplicateError) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("one of the events is in the log already: %v", e.cause)
	}
	return fmt.Sprintf("event %s is in the log already, at %d", e.ID, e.Sequence)
}

// Unwrap gives the server's answer, where there is one.
func (e *DuplicateError) Unwrap() error { return e.cause }

// TooLargeError reports an event that does not fit into a message.
type TooLargeError struct {
	ID    string
	Type  event.Type
	Size  int
	Limit int
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s %s has %d bytes, and the log takes %d with headers", e.Type, e.ID, e.Size, e.Limit)
}

// BrokenError reports that the writer failed before and cannot know where the
// account's events end.
type BrokenError struct {
	Account string
	Cause   error
}

// Error implements error.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("the writer of account %s has failed before: %v", e.Account, e.Cause)
}

// Unwrap gives the failure.
func (e *BrokenError) Unwrap() error { return e.Cause }

// GapError reports that events between what a reader knows of an account and
// what the log still has are gone.
type GapError struct {
	Account string
	After   uint64 // the number that was known
	Next    uint64 // the next number that is there
}

// Error implements error.
func (e *GapError) Error() string {
	return fmt.Sprintf("events %d to %d of account %s are no longer in the log", e.After+1, e.Next-1, e.Account)
}

// SlowConsumerError reports a watcher that fell too far behind. Cursor is
// where it can watch again from.
type SlowConsumerError struct{ Cursor Cursor }

// Error implements error.
func (e *SlowConsumerError) Error() string {
	return fmt.Sprintf("the watcher does not keep up with the log; it can go on from cursor %s", e.Cursor)
}
