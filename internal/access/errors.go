package access

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
