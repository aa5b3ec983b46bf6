package access

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/postern-mail/postern/internal/secret"
)

// ErrInvalid is what an [Authenticator] answers for credentials that nobody
// has, or that have expired or were revoked.
var ErrInvalid = errors.New("the credentials are not valid")

// Principal is who calls.
type Principal struct {
	// ID names the caller in the access log and the audit log. It is never a
	// secret.
	ID string
	Grant
	// Ended is closed when the principal is no longer who it was: its token was
	// revoked, has expired or may do something else now. nil means never.
	Ended <-chan struct{}
}

// Credentials are what a caller shows. At least one of them is there.
type Credentials struct {
	// Token is the bearer token (RFC 6750 section 2.1).
	Token secret.String
	// Certificate is the client's, verified by the TLS handshake; nil for none.
	Certificate *x509.Certificate
}

// Authenticator tells who shows credentials. It fails with [ErrInvalid], and
// with other errors where it cannot tell. It must not tell by its time how much
// of a wrong token was right.
type Authenticator interface {
	Authenticate(ctx context.Context, shown Credentials) (Principal, error)
}

type principalKey struct{}

// With puts who calls into the context of a call.
func With(ctx context.Context, who Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, who)
}

// From is who calls. Without a principal in the context that is somebody who may
// do nothing.
func From(ctx context.Context) Principal {
	who, _ := ctx.Value(principalKey{}).(Principal)
	return who
}
