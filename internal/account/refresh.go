package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/oauth2"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

const (
	// refreshTimeout bounds a refresh as a whole, waiting for another node's
	// included.
	refreshTimeout = 45 * time.Second
	// endpointTimeout bounds the request to the token endpoint. It is shorter
	// than claimTTL, so a refresh ends before its claim does.
	endpointTimeout = 20 * time.Second
	// claimTTL frees the claim of a node that died during a refresh.
	claimTTL = 40 * time.Second
	// claimPoll is how often a node looks whether another's refresh has ended.
	claimPoll = 100 * time.Millisecond
	// saveTimeout bounds the attempts to store a new token. It is apart from
	// the refresh's own bound, because by then there is something to lose.
	saveTimeout = 15 * time.Second
	saveRetry   = 200 * time.Millisecond
	// tryTimeout bounds one such attempt: a request that was under way when the
	// connection to NATS broke gets no answer.
	tryTimeout = 2 * time.Second
)

// refresh gives a new access token, its own or one that another node has just
// fetched.
func (t *tokens) refresh(ctx context.Context, g grant) (secret.String, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	release, err := t.claim(ctx, g)
	if err != nil {
		return secret.String{}, &TokenUnavailableError{Account: g.account, RetryAfter: minRetry, Err: err}
	}
	defer release()
	// Each round tries a refresh token that has not been tried before.
	for range 3 {
		current, err := t.current(ctx, g)
		if errors.Is(err, ErrNotFound) {
			return secret.String{}, err
		}
		if err != nil {
			return secret.String{}, &TokenUnavailableError{Account: g.account, RetryAfter: minRetry, Err: err}
		}
		if t.isUsable(g, current) {
			return current.AccessToken, nil
		}
		token, err := t.refreshOnce(ctx, g, current)
		if err == nil {
			return token, nil
		}
		if _, refused := errors.AsType[*TokenRefusedError](err); refused && t.hasChanged(ctx, g, current) {
			// Somebody has authorized the account anew meanwhile, or another
			// node was faster after all.
			continue
		}
		t.fail(g, current, err)
		return secret.String{}, err
	}
	return secret.String{}, &TokenUnavailableError{Account: g.account, RetryAfter: minRetry,
		Err: errors.New("the refresh token keeps changing")}
}

// claim waits until this node alone may refresh the grant. Without the bucket
// there is no claim and hence no refresh, whose outcome could not be stored.
func (t *tokens) claim(ctx context.Context, g grant) (release func(), err error) {
	kv, key := t.registry.kv, refreshPrefix+strings.ReplaceAll(g.String(), "/", ".")
	ticker := time.NewTicker(claimPoll)
	defer ticker.Stop()
	for {
		revision, err := kv.Create(ctx, key, nil, jetstream.KeyTTL(claimTTL))
		if err == nil {
			return func() {
				// With the revision, so that a claim that has run out and is
				// another's now stays. A failure leaves it to its TTL.
				releaseCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTimeout)
				defer cancel()
				_ = kv.Purge(releaseCtx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(claimTTL))
			}, nil
		}
		if !kvbucket.IsConflict(err) {
			return nil, fmt.Errorf("claim the refresh: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another node's refresh: %w", ctx.Err())
		}
	}
}

// current reads the grant from the bucket, and puts an outcome in its place
// that could not be stored so far.
func (t *tokens) current(ctx context.Context, g grant) (*OAuth2, error) {
	e, err := t.registry.load(ctx, g.account)
	if err != nil {
		return nil, err
	}
	current := g.of(e.account)
	if current == nil {
		return nil, fmt.Errorf("account %s has no oauth2 settings any more", g.account)
	}
	t.mu.Lock()
	unsaved := t.state(g).unsaved
	t.mu.Unlock()
	if unsaved == nil {
		return current, nil
	}
	if unsaved.from.sameGrant(current) {
		t.save(ctx, g, unsaved)
		return &unsaved.to, nil
	}
	t.setUnsaved(g, nil) // overtaken
	return current, nil
}

// refreshOnce asks the token endpoint and stores its answer.
func (t *tokens) refreshOnce(ctx context.Context, g grant, from *OAuth2) (secret.String, error) {
	endpointCtx, cancel := context.WithTimeout(ctx, endpointTimeout)
	defer cancel()
	answer, err := t.ask(endpointCtx, from)
	if err != nil {
		return secret.String{}, tokenError(g.account, err)
	}
	outcome := &refreshed{from: *from, to: *from}
	outcome.to.AccessToken, outcome.to.Expiry = secret.New(answer.AccessToken), answer.Expiry.UTC()
	if answer.RefreshToken != "" {
		outcome.to.RefreshToken = secret.New(answer.RefreshToken)
	}
	t.mu.Lock()
	state := t.state(g)
	state.failure, state.failedUntil = nil, time.Time{}
	// Some providers give the same token again while it has not expired.
	state.rejected = secret.String{}
	t.mu.Unlock()
	t.save(ctx, g, outcome)
	return outcome.to.AccessToken, nil
}

// ask sends the refresh request (RFC 6749 section 6).
func (t *tokens) ask(ctx context.Context, o *OAuth2) (*oauth2.Token, error) {
	config := oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(),
		Endpoint: oauth2.Endpoint{TokenURL: o.TokenURL},
	}
	if config.ClientSecret == "" {
		// RFC 6749 section 3.2.1: a public client names itself in the body.
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	// Exchange with another grant type, since the package's own refresh cannot
	// send a scope. The empty "code" that goes along counts as left out (RFC
	// 6749 section 3.2).
	params := []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("grant_type", "refresh_token"),
		oauth2.SetAuthURLParam("refresh_token", o.RefreshToken.Reveal()),
	}
	if len(o.Scopes) > 0 {
		params = append(params, oauth2.SetAuthURLParam("scope", strings.Join(o.Scopes, " ")))
	}
	return config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, t.client), "", params...)
}

// save stores the outcome of a refresh unless the grant was replaced meanwhile,
// which then is the fresher one. What cannot be stored is kept in memory.
func (t *tokens) save(ctx context.Context, g grant, outcome *refreshed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.saveTimeout)
	defer cancel()
	ticker := time.NewTicker(saveRetry)
	defer ticker.Stop()
	for {
		err := t.trySave(ctx, g, outcome)
		if err == nil || errors.Is(err, ErrNotFound) {
			t.setUnsaved(g, nil)
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.registry.logger.Warn("a refreshed token is kept in memory because it cannot be stored",
				"account", g.account, "error", err)
			t.setUnsaved(g, outcome)
			return
		}
	}
}

// trySave is one compare-and-set. It keeps etag, revision and update time: to
// whoever edits the account nothing has changed.
func (t *tokens) trySave(ctx context.Context, g grant, outcome *refreshed) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	stored, err := t.registry.load(ctx, g.account)
	if err != nil {
		return err
	}
	next := stored.account.Clone()
	target := g.of(next)
	if target == nil || !target.sameGrant(&outcome.from) {
		return nil // replaced, or stored by an attempt whose answer was lost
	}
	if target.RefreshToken.Equal(outcome.to.RefreshToken) && target.AccessToken.Equal(outcome.to.AccessToken) {
		return nil
	}
	*target = outcome.to
	return t.registry.replace(ctx, stored, next, stored.revision)
}

func (t *tokens) setUnsaved(g grant, outcome *refreshed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state(g).unsaved = outcome
}

// hasChanged reports whether the grant is another one than was tried.
func (t *tokens) hasChanged(ctx context.Context, g grant, tried *OAuth2) bool {
	e, err := t.registry.load(ctx, g.account)
	if err != nil {
		return false
	}
	current := g.of(e.account)
	return current != nil && !current.RefreshToken.Equal(tried.RefreshToken)
}

// fail remembers a failure, so that it is not repeated at once.
func (t *tokens) fail(g grant, tried *OAuth2, err error) {
	pause := rejectionPause
	if unavailable, ok := errors.AsType[*TokenUnavailableError](err); ok {
		pause = unavailable.RetryAfter
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.state(g)
	state.failure, state.failedWith, state.failedUntil = err, tried.RefreshToken, time.Now().Add(pause)
}
