package access

import "context"

// EndedError is [ErrInvalid] for credentials that were somebody's: they have
// expired or were revoked. Whoever shows them has proved that they knew them.
type EndedError struct {
	// ID is that of the principal.
	ID string
}

func (e *EndedError) Error() string {
	return "the credentials of " + e.ID + " have expired or were revoked"
}

// Is makes it an [ErrInvalid].
func (e *EndedError) Is(target error) bool { return target == ErrInvalid }

// AnyOf asks one authenticator after the other, until one knows who it is. What one
// of them cannot tell is told only if no other can.
func AnyOf(authenticators ...Authenticator) Authenticator { return anyOf(authenticators) }

type anyOf []Authenticator

// Authenticate implements [Authenticator].
func (all anyOf) Authenticate(ctx context.Context, shown Credentials) (Principal, error) {
	refused := ErrInvalid
	for _, one := range all {
		who, err := one.Authenticate(ctx, shown)
		if err == nil {
			return who, nil
		}
		if err != ErrInvalid { //nolint:errorlint // those that wrap it say more
			refused = err
		}
	}
	return Principal{}, refused
}
