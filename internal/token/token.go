package token

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/access"
)

// Token is an API token, without its secret.
type Token struct {
	ID          string
	DisplayName string
	access.Grant
	// Creator is the principal that made it.
	Creator    string
	CreateTime time.Time
	UpdateTime time.Time
	// ExpireTime is when it ends by itself; zero means never.
	ExpireTime time.Time
	// RevokeTime is when it was revoked; zero means it was not.
	RevokeTime time.Time
	// LastUseTime is when it was last used, to about a minute; zero means never.
	LastUseTime time.Time
	// Etag stands for the token's settings as they are.
	Etag string
}

// State is what can be said of a token at some time.
type State int

// The states of a token.
const (
	Active State = iota
	Expired
	Revoked
)

// State is the token's at a time. A token that was revoked stays so, and its
// expiry is the end of the time at which it can be used.
func (t *Token) State(now time.Time) State {
	switch {
	case !t.RevokeTime.IsZero():
		return Revoked
	case !t.ExpireTime.IsZero() && !now.Before(t.ExpireTime):
		return Expired
	}
	return Active
}

// Principal is the id of who shows the token. It is the token's name, too.
func (t *Token) Principal() string { return principal(t.ID) }

// principalPrefix parts tokens from other ways to show who one is.
const principalPrefix = "tokens/"

func principal(id string) string { return principalPrefix + id }

// ended is when the token ended, if it has.
func (t *Token) ended(now time.Time) (time.Time, bool) {
	switch t.State(now) {
	case Revoked:
		return t.RevokeTime, true
	case Expired:
		return t.ExpireTime, true
	}
	return time.Time{}, false
}

// clone copies what the token shares with others.
func (t *Token) clone() *Token {
	c := *t
	c.Scopes, c.Accounts, c.Labels = slices.Clone(t.Scopes), slices.Clone(t.Accounts), maps.Clone(t.Labels)
	return &c
}

// sameRights reports whether who shows the token may do the same as before, for
// as long.
func (t *Token) sameRights(before *Token) bool {
	return t.RevokeTime.Equal(before.RevokeTime) && t.ExpireTime.Equal(before.ExpireTime) &&
		slices.Equal(t.Scopes, before.Scopes) && slices.Equal(t.Accounts, before.Accounts) && maps.Equal(t.Labels, before.Labels)
}

// normalize brings what has no order into one.
func (t *Token) normalize() {
	slices.Sort(t.Scopes)
	t.Scopes = slices.Compact(t.Scopes)
	slices.Sort(t.Accounts)
	t.Accounts = slices.Compact(t.Accounts)
	t.ExpireTime = t.ExpireTime.UTC().Truncate(time.Microsecond)
}

var (
	// ErrNotFound says that there is no such token.
	ErrNotFound = errors.New("no such token")
	// ErrEnded says that a token has expired or was revoked, which nothing undoes.
	ErrEnded = errors.New("the token has expired or was revoked")
	// ErrEtagMismatch says that somebody else has changed the token.
	ErrEtagMismatch = errors.New("the token was changed by somebody else")
	// ErrStale says that for some time nothing has been heard from the store, so
	// that nobody here knows which tokens were revoked meanwhile.
	ErrStale = errors.New("whether the token was revoked cannot be known at present")
)
