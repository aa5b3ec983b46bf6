package access

import (
	"context"
	"errors"
)

// InvalidError is [ErrInvalid] with what is wrong. It is for credentials of
// which it is certain that they were once made for somebody: who holds those may
// know why they are of no use, and nobody else learns from it.
type InvalidError struct {
	// Problem ends the sentence "The token is not valid: it …".
	Problem string
}

func (e *InvalidError) Error() string { return "the credentials are not valid: " + e.Problem }

// Is implements what [errors.Is] asks for.
func (*InvalidError) Is(target error) bool { return target == ErrInvalid }

// UnavailableError says that it cannot be told at present who somebody is.
type UnavailableError struct {
	// Err is why, for the operator.
	Err error
}

func (e *UnavailableError) Error() string { return "credentials cannot be checked: " + e.Err.Error() }
func (e *UnavailableError) Unwrap() error { return e.Err }

// ways are several authenticators as one.
type ways []Authenticator

// AnyOf joins several ways in. They are asked in their order until one does not
// answer [ErrInvalid], so each has to tell from the form of what is shown whether
// it is its own. Of several that call it invalid the first with an [InvalidError]
// is heard.
func AnyOf(authenticators ...Authenticator) Authenticator { return ways(authenticators) }

// Authenticate implements [Authenticator].
func (w ways) Authenticate(ctx context.Context, shown Credentials) (Principal, error) {
	refusal := ErrInvalid
	for _, way := range w {
		who, err := way.Authenticate(ctx, shown)
		if !errors.Is(err, ErrInvalid) {
			return who, err
		}
		if refusal == ErrInvalid { //nolint:errorlint // whether it is still the bare one
			refusal = err
		}
	}
	return Principal{}, refusal
}
