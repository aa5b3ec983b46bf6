package gateway_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"testing"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/access"
)

// roster tells callers by tokens that a test gives out; the token of the tests may do
// everything. Whom it does not know may do nothing.
type roster struct {
	mu    sync.Mutex
	known map[string]access.Principal
}

func newRoster() *roster {
	return &roster{known: map[string]access.Principal{token: {ID: "admin", Grant: access.Everything()}}}
}

// Authenticate implements [access.Authenticator].
func (r *roster) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	who, ok := r.known[shown.Token.Reveal()]
	if !ok {
		return access.Principal{}, access.ErrInvalid
	}
	return who, nil
}

// give gives out a token with a grant.
func (r *roster) give(grant access.Grant) caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := caller{token: rand.Text()}
	r.known[c.token] = access.Principal{ID: "token-" + c.token[:8], Grant: grant}
	return c
}

// caller is somebody with a token of their own.
type caller struct{ token string }

// do is [house.do] with the caller's token.
func (c caller) do(t testing.TB, h *house, method, path string, body any, header ...string) answer {
	t.Helper()
	return h.do(t, method, path, body, append([]string{"Authorization", "Bearer " + c.token}, header...)...)
}

// guarded is a house of its own with a roster at its door.
func guarded(t testing.TB, o options) (*house, *roster) {
	t.Helper()
	r, before := newRoster(), o.gateway
	o.gateway = func(cfg *gateway.Config) {
		cfg.Auth = r
		if before != nil {
			before(cfg)
		}
	}
	return newHouse(t, o), r
}

// labelled is an account with a label.
func (h *house) labelled(t testing.TB, key, value string) string {
	t.Helper()
	name := h.account(t)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"labels": object{key: value}}).ok(t)
	return name
}
