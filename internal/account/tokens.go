package account

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/secret"
)

const (
	// expirySlack is how long before its end an access token is not used any
	// more, so that it does not end on the way.
	expirySlack = time.Minute
	// rejectionPause is how long after a server's rejection of an access token
	// the next one is believed: a server that rejects a fresh token means the
	// account, not the token.
	rejectionPause = time.Minute
)

// grant names one of the two places where an account can hold OAuth 2.0 tokens.
type grant struct {
	account string
	smtp    bool
}

func (g grant) String() string {
	if g.smtp {
		return g.account + "/smtp"
	}
	return g.account + "/imap"
}

// of gives the grant's tokens in an account, or nil.
func (g grant) of(a *Account) *OAuth2 {
	switch {
	case !g.smtp:
		return a.IMAP.OAuth2
	case a.SMTP != nil:
		return a.SMTP.OAuth2
	}
	return nil
}

// tokens gives access tokens for the accounts of a registry and refreshes them.
//
// Providers that rotate refresh tokens end the old one with each refresh, so a
// new one must not be lost and no two refreshes may run at once. Within the
// process one refresh at a time serves all who wait; between nodes a claim in
// the bucket keeps the others waiting. A refresh that has been sent is not
// given up when its caller goes away, and a new refresh token that cannot be
// stored is kept in memory until it can.
type tokens struct {
	registry *Registry
	client   *http.Client
	running  sync.WaitGroup // the refreshes in flights
	// saveTimeout is the constant of that name, but for tests.
	saveTimeout time.Duration

	mu      sync.Mutex
	states  map[grant]*tokenState
	flights map[grant]*flight
	closed  bool
}

// flight is a refresh that is under way.
type flight struct {
	done  chan struct{} // closed when token and err are there
	token secret.String
	err   error
}

// tokenState is what is remembered of a grant besides its record.
type tokenState struct {
	// rejected is an access token that the mail server did not accept although
	// it has not expired.
	rejected   secret.String
	rejectedAt time.Time
	// unsaved is the outcome of a refresh that could not be stored.
	unsaved *refreshed
	// failure is the outcome of the last refresh if it failed, to be repeated
	// until failedUntil, so that a dead grant does not become a storm.
	failure     error
	failedWith  secret.String // the refresh token that failed
	failedUntil time.Time
}

// refreshed is the outcome of a refresh.
type refreshed struct {
	from OAuth2 // what was refreshed
	to   OAuth2
}

func newTokens(registry *Registry, client *http.Client) *tokens {
	if client == nil {
		client = &http.Client{}
	}
	// A redirect would take the refresh token to whom it is not meant for.
	guarded := *client
	guarded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &tokens{
		registry: registry, client: &guarded, saveTimeout: saveTimeout,
		states: make(map[grant]*tokenState), flights: make(map[grant]*flight),
	}
}

// token gives an access token that is good for some time. It fails with
// [*TokenUnavailableError] or [*TokenRefusedError].
func (t *tokens) token(ctx context.Context, g grant) (string, error) {
	a, err := t.registry.Get(ctx, g.account)
	if err != nil {
		return "", err
	}
	current := g.of(a)
	if current == nil {
		return "", fmt.Errorf("account %s has no oauth2 settings", g.account)
	}
	if token, done, err := t.known(g, current); done {
		return token, err
	}
	refresh, err := t.join(ctx, g)
	if err != nil {
		return "", err
	}
	select {
	case <-refresh.done:
		return refresh.token.Reveal(), refresh.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// join gives the grant's refresh that is under way, or starts one. It goes on
// without its caller.
func (t *tokens) join(ctx context.Context, g grant) (*flight, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if refresh := t.flights[g]; refresh != nil {
		return refresh, nil
	}
	refresh := &flight{done: make(chan struct{})}
	t.flights[g] = refresh
	ctx = context.WithoutCancel(ctx)
	t.running.Go(func() {
		defer close(refresh.done)
		refresh.token, refresh.err = t.refresh(ctx, g)
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.flights, g)
	})
	return refresh, nil
}

// close waits for the refreshes that are under way, each of which may hold a
// refresh token that is stored nowhere else yet.
func (t *tokens) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}

// known gives what can be said without asking anybody.
func (t *tokens) known(g grant, current *OAuth2) (token string, done bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.states[g]
	if state != nil && state.unsaved != nil && state.unsaved.from.sameGrant(current) {
		return "", false, nil // to be stored first
	}
	if t.usable(state, current) {
		return current.AccessToken.Reveal(), true, nil
	}
	if current.RefreshToken.IsZero() {
		return "", true, &TokenRefusedError{Account: g.account,
			Description: "its access token has expired or was refused, and there is no refresh token"}
	}
	if state != nil && state.failure != nil && state.failedWith.Equal(current.RefreshToken) && time.Now().Before(state.failedUntil) {
		return "", true, state.failure
	}
	return "", false, nil
}

// usable reports whether an access token can be expected to be accepted. The
// caller holds the lock.
func (t *tokens) usable(state *tokenState, o *OAuth2) bool {
	if o.AccessToken.IsZero() || state != nil && o.AccessToken.Equal(state.rejected) {
		return false
	}
	return o.Expiry.IsZero() || time.Until(o.Expiry) > expirySlack
}

// isUsable is usable for callers without the lock.
func (t *tokens) isUsable(g grant, o *OAuth2) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usable(t.states[g], o)
}

// reject notes that a mail server did not accept the present access token. It
// reports whether a further attempt with a new one makes sense.
func (t *tokens) reject(ctx context.Context, g grant) bool {
	a, err := t.registry.Get(ctx, g.account)
	if err != nil {
		return false
	}
	current := g.of(a)
	if current == nil || current.RefreshToken.IsZero() || current.AccessToken.IsZero() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.state(g)
	if time.Since(state.rejectedAt) < rejectionPause {
		return false
	}
	state.rejected, state.rejectedAt = current.AccessToken, time.Now()
	return true
}

// state gives the state of a grant, a new one if need be. The caller holds the
// lock.
func (t *tokens) state(g grant) *tokenState {
	state := t.states[g]
	if state == nil {
		state = &tokenState{}
		t.states[g] = state
	}
	return state
}

// forget drops what is remembered of a deleted account.
func (t *tokens) forget(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.states, grant{account: account})
	delete(t.states, grant{account: account, smtp: true})
}
