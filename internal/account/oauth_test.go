package account_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// provider is a token endpoint that rotates refresh tokens and accepts each of
// them once, as strict providers do.
type provider struct {
	*httptest.Server
	// expiresIn is how long access tokens are good for.
	expiresIn time.Duration
	// entered and proceed, if set, hold each request up.
	entered chan struct{}
	proceed chan struct{}

	mu       sync.Mutex
	issued   int
	refresh  string // the one refresh token that is accepted
	access   string // what is issued; if empty, access-1 and so on
	replayed int    // requests with another one
	forms    []url.Values
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{expiresIn: time.Hour, refresh: "refresh-0"}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.entered != nil {
		p.entered <- struct{}{}
		<-p.proceed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := r.ParseForm(); err != nil || r.Form.Get("refresh_token") != p.refresh {
		p.replayed++
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"token was revoked"}`)
		return
	}
	user, password, _ := r.BasicAuth()
	r.Form.Set("basic", user+":"+password)
	p.forms = append(p.forms, r.Form)
	p.issued++
	p.refresh = fmt.Sprint("refresh-", p.issued)
	access := p.access
	if access == "" {
		access = fmt.Sprint("access-", p.issued)
	}
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","refresh_token":%q,"expires_in":%d}`,
		access, p.refresh, int(p.expiresIn.Seconds()))
}

// counts gives the numbers of tokens issued and of refusals.
func (p *provider) counts() (issued, replayed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued, p.replayed
}

// oauthAnn is ann with a grant at a token endpoint.
func oauthAnn(tokenURL string) *account.Account {
	a := ann()
	a.IMAP.Password = secret.String{}
	a.IMAP.OAuth2 = &account.OAuth2{
		RefreshToken: secret.New("refresh-0"), ClientID: "client", ClientSecret: secret.New("client-secret"), TokenURL: tokenURL,
	}
	return a
}

func newConnector(t *testing.T, config account.ConnectorConfig) *account.Connector {
	t.Helper()
	connector := account.NewConnector(config)
	t.Cleanup(connector.Close)
	return connector
}

// token asks for the access token of ann as a login does.
func token(ctx context.Context, connector *account.Connector, a *account.Account) (string, error) {
	return connector.DialConfig(a).Auth.Token(ctx)
}

// wantFirstToken fails unless the token is the first that the provider gave.
func wantFirstToken(t *testing.T, connector *account.Connector, a *account.Account) {
	t.Helper()
	if got, err := token(t.Context(), connector, a); err != nil || got != "access-1" {
		t.Fatalf("token %q, %v", got, err)
	}
}

// storedGrant reads the tokens as a node that has just started does.
func storedGrant(t *testing.T, e *env) *account.OAuth2 {
	t.Helper()
	a, err := e.open(t).Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	return a.IMAP.OAuth2
}

func TestRefreshIsStored(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), newProvider(t)
	registry := e.open(t)
	a := oauthAnn(p.URL)
	a.IMAP.OAuth2.Scopes = []string{"mail", "offline"}
	a = create(t, registry, a)
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	wantFirstToken(t, connector, a)
	wantFirstToken(t, connector, a)

	restarted := e.open(t)
	wantFirstToken(t, newConnector(t, account.ConnectorConfig{Registry: restarted}), a)
	if issued, replayed := p.counts(); issued != 1 || replayed != 0 {
		t.Errorf("%d tokens issued, %d refused; want 1, 0", issued, replayed)
	}
	form := p.forms[0]
	for key, want := range map[string]string{
		"grant_type": "refresh_token", "refresh_token": "refresh-0", "scope": "mail offline", "basic": "client:client-secret",
	} {
		if got := form.Get(key); got != want {
			t.Errorf("request has %s %q, want %q", key, got, want)
		}
	}
	after, err := restarted.Get(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.IMAP.OAuth2.RefreshToken.Reveal(); got != "refresh-1" {
		t.Errorf("stored refresh token %q", got)
	}
	if after.Etag != a.Etag || after.ConnectionRevision != a.ConnectionRevision || !after.UpdateTime.Equal(a.UpdateTime) {
		t.Error("a refresh looks like a change of settings")
	}
}

// The access tokens end at once, so each call refreshes; a refresh token that
// is used twice or lost would show as a refusal.
func TestNodesRefreshOneAtATime(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), newProvider(t)
	p.expiresIn = time.Second
	var connectors []*account.Connector
	for range 2 {
		connectors = append(connectors, newConnector(t, account.ConnectorConfig{Registry: e.open(t)}))
	}
	a := create(t, e.open(t), oauthAnn(p.URL))
	var wait sync.WaitGroup
	for i := range 12 {
		wait.Go(func() {
			if _, err := token(t.Context(), connectors[i%2], a); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	issued, replayed := p.counts()
	if replayed != 0 || issued < 2 {
		t.Errorf("%d tokens issued, %d refresh tokens used twice", issued, replayed)
	}
	if got, want := storedGrant(t, e).RefreshToken.Reveal(), fmt.Sprint("refresh-", issued); got != want {
		t.Errorf("stored refresh token %q, want %q", got, want)
	}
}

func TestOneRefreshServesAll(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), newProvider(t)
	registries := []*account.Registry{e.open(t), e.open(t)}
	a := create(t, registries[0], oauthAnn(p.URL))
	var wait sync.WaitGroup
	for _, registry := range registries {
		connector := newConnector(t, account.ConnectorConfig{Registry: registry})
		for range 8 {
			wait.Go(func() {
				if got, err := token(t.Context(), connector, a); err != nil || got != "access-1" {
					t.Errorf("token %q, %v", got, err)
				}
			})
		}
	}
	wait.Wait()
	if issued, replayed := p.counts(); issued != 1 || replayed != 0 {
		t.Errorf("%d tokens issued, %d refused; want 1, 0", issued, replayed)
	}
}

func heldProvider(t *testing.T) *provider {
	t.Helper()
	p := newProvider(t)
	p.entered, p.proceed = make(chan struct{}), make(chan struct{})
	return p
}

func TestRefreshOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), heldProvider(t)
	registry := e.open(t)
	a := create(t, registry, oauthAnn(p.URL))
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := token(ctx, connector, a)
		result <- err
	}()
	<-p.entered
	cancel()
	wantError(t, <-result, context.Canceled)
	close(p.proceed)
	connector.Close() // waits for it
	if got := storedGrant(t, e).RefreshToken.Reveal(); got != "refresh-1" {
		t.Errorf("stored refresh token %q: the new one is lost", got)
	}
}

func TestRefreshDoesNotOverwriteANewGrant(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), heldProvider(t)
	registry := e.open(t)
	a := create(t, registry, oauthAnn(p.URL))
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	result := make(chan error, 1)
	go func() {
		_, err := token(t.Context(), connector, a)
		result <- err
	}()
	<-p.entered
	// Somebody authorizes the account anew, on another node.
	_, err := e.open(t).Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.OAuth2.RefreshToken = secret.New("authorized-anew")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	close(p.proceed)
	if err := <-result; err != nil {
		t.Error(err)
	}
	if got := storedGrant(t, e).RefreshToken.Reveal(); got != "authorized-anew" {
		t.Errorf("stored refresh token %q: the user's is lost", got)
	}
}

// The provider answers while NATS is away: the refresh token it gave must not
// be lost, and the login goes on.
func TestRefreshDuringNATSOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := natsdtest.Start(t, natsd.Config{DataDir: dir})
	conn, err := nats.Connect(srv.URL().Reveal(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{dir: dir, js: js, box: newBox(t, dir+"/secret.key")}
	p := heldProvider(t)
	registry := e.open(t)
	a := create(t, registry, oauthAnn(p.URL))
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	connector.SetSaveTimeout(100 * time.Millisecond)
	result := make(chan error, 1)
	go func() {
		got, err := token(t.Context(), connector, a)
		if err == nil && got != "access-1" {
			err = errors.New("token " + got)
		}
		result <- err
	}()
	<-p.entered
	natsdtest.Stop(t, srv)
	close(p.proceed)
	if err := <-result; err != nil {
		t.Errorf("login during the outage: %v", err)
	}
	if srv, err = natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: srv.Addr()}); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the token to be known again", func() bool {
		got, err := token(t.Context(), connector, a)
		return err == nil && got == "access-1"
	})
	if got := storedGrant(t, e).RefreshToken.Reveal(); got != "refresh-1" {
		t.Errorf("stored refresh token %q: the new one is lost", got)
	}
	if issued, replayed := p.counts(); issued != 1 || replayed != 0 {
		t.Errorf("%d tokens issued, %d refused; want 1, 0", issued, replayed)
	}
	connector.Close()
	registry.Close()
	natsdtest.Stop(t, srv)
}

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	answer := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	const tempt = `"hint":"refresh-0 canary-body"`
	cases := map[string]struct {
		handler http.HandlerFunc
		refused string        // the code of a refusal, or empty for a temporary failure
		retry   time.Duration // of a temporary failure
		want    string
	}{
		"server error":       {answer(500, "", "oops canary-body"), "", 5 * time.Second, "500"},
		"unavailable":        {answer(503, "60", ""), "", time.Minute, "503"},
		"throttled":          {answer(429, "7", `{"error":"invalid_grant",`+tempt+`}`), "", 7 * time.Second, "429"},
		"absurd pause":       {answer(429, "999999", ""), "", 15 * time.Minute, "429"},
		"a proxy's page":     {answer(403, "", "<html>canary-body"), "", 5 * time.Second, "403"},
		"error for a while":  {answer(400, "", `{"error":"temporarily_unavailable"}`), "", 5 * time.Second, "temporarily_unavailable"},
		"garbage":            {answer(200, "", "canary-body"), "", 5 * time.Second, ""},
		"no token":           {answer(200, "", `{}`), "", 5 * time.Second, ""},
		"an endless answer":  {endless(false), "", 5 * time.Second, ""},
		"a bomb":             {endless(true), "", 5 * time.Second, ""},
		"grant revoked":      {answer(400, "", `{"error":"invalid_grant","error_description":"gone\r\nfor good",`+tempt+`}`), "invalid_grant", 0, "gone  for good"},
		"client unknown":     {answer(401, "", `{"error":"invalid_client"}`), "invalid_client", 0, "authorize it anew"},
		"connection dropped": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 5 * time.Second, ""},
	}
	e := newEnv(t)
	registry := e.open(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				c.handler(w, r)
			}))
			defer server.Close()
			a := oauthAnn(server.URL)
			a.ID = ""
			a.IMAP.OAuth2.ClientSecret = secret.String{} // so that there is one request to a refresh
			a = create(t, registry, a)
			connector := newConnector(t, account.ConnectorConfig{Registry: registry})
			for range 3 {
				_, err := token(t.Context(), connector, a)
				checkTokenError(t, err, c.refused, c.retry, c.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests for three attempts in a row, want 1", n)
			}
		})
	}
}

// endless answers with a token behind more than anybody should read.
func endless(zipped bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out := io.Writer(w)
		if zipped {
			w.Header().Set("Content-Encoding", "gzip")
			bomb := gzip.NewWriter(w)
			defer bomb.Close()
			out = bomb
		}
		_, _ = out.Write(bytes.Repeat([]byte(" "), 4<<20))
		fmt.Fprint(out, `{"access_token":"access-1"}`)
	}
}

func checkTokenError(t *testing.T, err error, code string, retry time.Duration, want string) {
	t.Helper()
	if refused, ok := errors.AsType[*account.TokenRefusedError](err); ok != (code != "") || ok && refused.Code != code {
		t.Fatalf("error %v, want a refusal with %q", err, code)
	}
	if unavailable, ok := errors.AsType[*account.TokenUnavailableError](err); ok != (code == "") || ok && unavailable.RetryAfter != retry {
		t.Fatalf("error %#v, want a temporary one with a pause of %s", err, retry)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	for _, canary := range []string{"refresh-0", "canary-body", "\n", "client-secret"} {
		if strings.Contains(err.Error(), canary) {
			t.Errorf("error %q shows %q", err, canary)
		}
	}
}

func TestTokenEndpointOutOfReach(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	registry := newEnv(t).open(t)
	for name, tokenURL := range map[string]string{
		"nothing listens": closed.URL,
		"no such host":    "https://token.invalid/",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := oauthAnn(tokenURL)
			a.ID = ""
			a = create(t, registry, a)
			_, err := token(t.Context(), newConnector(t, account.ConnectorConfig{Registry: registry}), a)
			checkTokenError(t, err, "", 5*time.Second, "")
		})
	}
}

func TestRefreshFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the refresh token was taken elsewhere")
	}))
	defer elsewhere.Close()
	endpoint := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer endpoint.Close()
	registry := newEnv(t).open(t)
	a := create(t, registry, oauthAnn(endpoint.URL))
	_, err := token(t.Context(), newConnector(t, account.ConnectorConfig{Registry: registry}), a)
	checkTokenError(t, err, "", 5*time.Second, "307")
}

func TestAccessTokenAlone(t *testing.T) {
	t.Parallel()
	registry := newEnv(t).open(t)
	for name, c := range map[string]struct {
		expiry time.Time
		ok     bool
	}{
		"good for an hour": {time.Now().Add(time.Hour), true},
		"end not known":    {time.Time{}, true},
		"expired":          {time.Now().Add(-time.Hour), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := oauthAnn("")
			a.ID = ""
			a.IMAP.OAuth2 = &account.OAuth2{AccessToken: secret.New("given"), Expiry: c.expiry}
			a = create(t, registry, a)
			got, err := token(t.Context(), newConnector(t, account.ConnectorConfig{Registry: registry}), a)
			if _, refused := errors.AsType[*account.TokenRefusedError](err); c.ok && got != "given" || !c.ok && !refused {
				t.Errorf("token %q, %v", got, err)
			}
		})
	}
}

// A refusal is forgotten as soon as somebody has authorized the account anew.
func TestNewGrantAfterRefusal(t *testing.T) {
	t.Parallel()
	e, p := newEnv(t), newProvider(t)
	registry := e.open(t)
	a := oauthAnn(p.URL)
	a.IMAP.OAuth2.RefreshToken = secret.New("revoked")
	a = create(t, registry, a)
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	_, err := token(t.Context(), connector, a)
	checkTokenError(t, err, "invalid_grant", 0, "revoked")
	_, err = registry.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.OAuth2.RefreshToken = secret.New("refresh-0")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFirstToken(t, connector, a)
}
