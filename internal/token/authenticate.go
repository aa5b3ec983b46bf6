package token

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/postern-mail/postern/internal/access"
)

// Authenticate implements [access.Authenticator]. It asks nobody: what it looks
// at is in memory. A token that has ended fails with [*access.EndedError], one that
// nobody can vouch for at present with [ErrStale].
//
// Of a token that is wrong it does the same work whether there is one with that id
// or not. Which form tokens have is no secret.
func (s *Store) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	secret, ok := ParseSecret(shown.Token)
	if !ok {
		return access.Principal{}, access.ErrInvalid
	}
	hash := secret.hash()
	var want [sha256.Size]byte // of no text that anybody knows
	found, use := s.cache.get(secret.ID())
	if found != nil {
		want = found.hash
	}
	if subtle.ConstantTimeCompare(hash[:], want[:]) != 1 || found == nil {
		return access.Principal{}, access.ErrInvalid
	}
	at := time.Now()
	switch {
	case found.State(at) != Active:
		return access.Principal{}, &access.EndedError{ID: found.Principal()}
	case s.stale():
		return access.Principal{}, ErrStale
	}
	if second := at.Unix(); use.seen.Load() < second {
		use.seen.Store(second)
	}
	return access.Principal{ID: found.Principal(), Grant: found.Grant, Ended: found.ending.over}, nil
}
