package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/secret"
)

// ErrTokenInvalid is what an [Authenticator] answers for a token that nobody
// has, or that has expired or was revoked.
var ErrTokenInvalid = errors.New("token is not valid")

// Principal is who calls.
type Principal struct {
	// ID names the token in logs, never the token itself.
	ID string
}

// Authenticator tells who presents a bearer token. It must not tell by its
// time how much of a wrong token was right.
type Authenticator interface {
	Authenticate(ctx context.Context, token secret.String) (Principal, error)
}

// adminToken is the one token that may do everything. Only its hash is kept.
type adminToken [sha256.Size]byte

// NewAdminToken makes the authenticator of a single token that may do
// everything. It refuses the empty token and those that cannot stand in a
// header; how hard a token is to guess is for who chooses it.
func NewAdminToken(token secret.String) (Authenticator, error) {
	value := token.Reveal()
	if value == "" {
		return nil, errors.New("the admin token is empty")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the admin token has characters that cannot stand in a header: use printable ASCII without spaces")
	}
	return adminToken(sha256.Sum256([]byte(value))), nil
}

// Authenticate implements [Authenticator]. Comparing hashes of equal length in
// constant time tells nothing of the token.
func (a adminToken) Authenticate(_ context.Context, token secret.String) (Principal, error) {
	hash := sha256.Sum256([]byte(token.Reveal()))
	if subtle.ConstantTimeCompare(hash[:], a[:]) != 1 {
		return Principal{}, ErrTokenInvalid
	}
	return Principal{ID: "admin"}, nil
}

// authenticate reads the values of the Authorization header (RFC 6750 section
// 2.1) and asks who it is. Tokens in the URL are not accepted: they end up in
// logs and histories.
func authenticate(ctx context.Context, auth Authenticator, header []string) (Principal, error) {
	if len(header) == 0 {
		return Principal{}, refuse(codes.Unauthenticated, reasonTokenInvalid,
			"This call needs a token: send the header \"Authorization: Bearer <token>\".")
	}
	scheme, token, ok := strings.Cut(header[0], " ")
	if len(header) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, refuse(codes.Unauthenticated, reasonTokenInvalid,
			"The Authorization header is not of the form \"Bearer <token>\".")
	}
	who, err := auth.Authenticate(ctx, secret.New(strings.TrimSpace(token)))
	if errors.Is(err, ErrTokenInvalid) {
		return Principal{}, refuse(codes.Unauthenticated, reasonTokenInvalid,
			"The token is not valid: it is unknown, has expired, or was revoked.")
	}
	if err != nil {
		return Principal{}, fmt.Errorf("authenticate: %w", err)
	}
	return who, nil
}
