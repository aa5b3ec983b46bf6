package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/secret"
)

// adminToken is the one token that may do everything. Only its hash is kept.
type adminToken [sha256.Size]byte

// NewAdminToken makes the authenticator of a single token that may do
// everything. It refuses the empty token and those that cannot stand in a
// header; how hard a token is to guess is for who chooses it.
func NewAdminToken(token secret.String) (access.Authenticator, error) {
	value := token.Reveal()
	if value == "" {
		return nil, errors.New("the admin token is empty")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the admin token has characters that cannot stand in a header: use printable ASCII without spaces")
	}
	return adminToken(sha256.Sum256([]byte(value))), nil
}

// Authenticate implements [access.Authenticator]. Comparing hashes of equal
// length in constant time tells nothing of the token.
func (a adminToken) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	hash := sha256.Sum256([]byte(shown.Token.Reveal()))
	if subtle.ConstantTimeCompare(hash[:], a[:]) != 1 {
		return access.Principal{}, access.ErrInvalid
	}
	return access.Principal{ID: "admin", Grant: access.Everything()}, nil
}

// authenticate reads the values of the Authorization header (RFC 6750 section
// 2.1) and asks who it is. Without the header it is the client's certificate that
// tells. Tokens in the URL are not accepted: they end up in logs and histories.
// Where it fails, the principal may still have an id: of who once had the token.
func authenticate(ctx context.Context, auth access.Authenticator, header []string) (access.Principal, error) {
	shown := access.Credentials{Certificate: certificateOf(ctx)}
	if len(header) == 0 && shown.Certificate == nil {
		return access.Principal{}, refuse(codes.Unauthenticated, reasonTokenInvalid,
			"This call needs a token: send the header \"Authorization: Bearer <token>\".")
	}
	if len(header) > 0 {
		scheme, token, ok := strings.Cut(header[0], " ")
		shown.Token = secret.New(strings.TrimSpace(token))
		if len(header) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || shown.Token.IsZero() {
			return access.Principal{}, refuse(codes.Unauthenticated, reasonTokenInvalid,
				"The Authorization header is not of the form \"Bearer <token>\".")
		}
	}
	who, err := auth.Authenticate(ctx, shown)
	if errors.Is(err, access.ErrInvalid) {
		// Who it was is for the logs: the caller is told the same as everybody.
		if ended, ok := errors.AsType[*access.EndedError](err); ok {
			who = access.Principal{ID: ended.ID}
		}
		return who, refuseCredentials(shown, err)
	}
	if err != nil {
		return access.Principal{}, fmt.Errorf("authenticate: %w", err)
	}
	return who, nil
}

// refuseCredentials says no more about them than who holds them may know.
func refuseCredentials(shown access.Credentials, err error) *failure {
	what, problem := "token", "is unknown, has expired, or was revoked"
	if shown.Token.IsZero() {
		what, problem = "client certificate", "belongs to no caller that this gateway knows"
	}
	if invalid, ok := errors.AsType[*access.InvalidError](err); ok {
		problem = invalid.Problem
	}
	return refuse(codes.Unauthenticated, reasonTokenInvalid, "The %s is not valid: it %s.", what, problem)
}
