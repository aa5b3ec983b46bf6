package gateway

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/token"
)

// classifyTokens knows the errors of API tokens.
func classifyTokens(err error) *failure {
	switch {
	case errors.Is(err, token.ErrNotFound):
		return refuse(codes.NotFound, reasonTokenNotFound, "There is no such token.").because(err)
	case errors.Is(err, token.ErrEnded):
		return refuse(codes.FailedPrecondition, reasonTokenEnded,
			"The token has expired or was revoked, which nothing undoes: make a new one.").because(err)
	case errors.Is(err, token.ErrEtagMismatch):
		return refuse(codes.Aborted, reasonEtagMismatch,
			"Somebody else has changed the token meanwhile: get it again, and repeat the change with its new etag.").because(err)
	case errors.Is(err, token.ErrStale):
		return refuse(codes.Unavailable, reasonStoreUnavailable,
			"Postern's own storage is out of reach, and without it nobody knows whether the token was revoked: try again, or another node.").
			retryAfter(unavailableRetry).because(err)
	}
	return nil
}
