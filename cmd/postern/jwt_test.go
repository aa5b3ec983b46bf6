package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/postern-mail/postern/internal/secret"
)

// tokenIssuer is an issuer of JSON Web Tokens, with a server of its keys that is up or
// not.
type tokenIssuer struct {
	*httptest.Server
	signer jose.Signer
	up     atomic.Bool
}

func newTokenIssuer(t *testing.T) *tokenIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &tokenIssuer{}
	options := (&jose.SignerOptions{}).WithHeader("kid", "one").WithType("at+jwt")
	if l.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options); err != nil {
		t.Fatal(err)
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !l.up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "one", Key: key.Public()}}})
	}))
	t.Cleanup(l.Close)
	return l
}

// token issues a token with some claims besides the usual ones.
func (l *tokenIssuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": "https://login.example.com", "aud": "postern", "sub": "robot", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// answerTo gives what is said to a call with a token, "" when it was answered.
func (p *process) answerTo(t *testing.T, token, path string) (message string) {
	t.Helper()
	client := p.client()
	client.token = secret.New(token)
	if _, err := client.call(t.Context(), http.MethodGet, path, nil); err != nil {
		return err.Error()
	}
	return ""
}

func TestServeJSONWebTokens(t *testing.T) {
	t.Parallel()
	l := newTokenIssuer(t)
	p := serveIn(t, t.TempDir(), "--log-level=debug",
		"--jwt-issuer=https://login.example.com", "--jwt-audience=other,postern", "--jwt-leeway=0s", "--jwt-jwks-url="+l.URL+"/keys")
	read := l.token(t, map[string]any{"scope": "openid accounts:read", "postern_accounts": []string{"accounts/-"}})

	// The server of the keys is down at the start: the gateway serves all the same.
	if _, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
		t.Errorf("the admin token: %v", err)
	}
	if message := p.answerTo(t, read, "/v1/accounts"); !strings.Contains(message, "cannot be checked at present") {
		t.Errorf("without keys: %s", message)
	}
	await(t, "the log to say so", func() bool {
		return strings.Contains(p.stderr.String(), "the keys of JSON Web Tokens cannot be had")
	})
	l.up.Store(true)
	await(t, "the keys to come", func() bool {
		return p.answerTo(t, read, "/v1/accounts") == ""
	})

	conn, err := grpc.NewClient(p.grpcAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := listAccounts(t, conn, read); err != nil {
		t.Errorf("by gRPC: %v", err)
	}
	for name, c := range map[string]struct {
		token, path, says string
	}{
		"another scope":  {read, "/v1/templates", "templates:read"},
		"above ceiling":  {l.token(t, map[string]any{"scope": "admin", "postern_accounts": []string{"accounts/-"}}), "/v1/accounts", ""},
		"no accounts":    {l.token(t, map[string]any{"scope": "accounts:read"}), "/v1/accounts", "names no accounts"},
		"expired":        {l.token(t, map[string]any{"exp": 1}), "/v1/accounts", "has expired"},
		"not its issuer": {l.token(t, map[string]any{"iss": "https://evil.example.com"}), "/v1/accounts", "is of another issuer"},
		"changed":        {read[:len(read)-6] + "AAAAAA", "/v1/accounts", "is unknown, has expired, or was revoked"},
		"a watch":        {l.token(t, map[string]any{"scope": "messages:read", "postern_accounts": []string{"accounts/-"}}), "/v1/events:watch", "events:read"},
	} {
		if message := p.answerTo(t, c.token, c.path); (c.says == "") != (message == "") || !strings.Contains(message, c.says) {
			t.Errorf("%s: says %q, want %q", name, message, c.says)
		}
	}
	// A watch ends with the token that it was opened with.
	brief := p.client()
	brief.token = secret.New(l.token(t, map[string]any{
		"scope": "events:read", "postern_accounts": []string{"accounts/-"}, "exp": time.Now().Add(10 * time.Second).Unix(),
	}))
	stream, err := brief.watch(t.Context(), "/v1/events:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		for err == nil {
			_, err = stream.next()
		}
	}()
	select {
	case <-ended:
	case <-time.After(deadline):
		t.Fatal("the watch outlives its token")
	}
	p.stop(t)
	log := p.stderr.String()
	if !strings.Contains(log, "principal=jwt:login.example.com:robot") {
		t.Error("the access log does not name the caller")
	}
	if strings.Contains(log, read) || strings.Contains(log, strings.Split(read, ".")[2]) {
		t.Error("the log shows a token")
	}
}

func TestJWTSettingsRefused(t *testing.T) {
	t.Parallel()
	good := []string{"--jwt-issuer=https://x", "--jwt-audience=y", "--jwt-jwks-url=https://x/keys"}
	if _, err := parse(t, good...); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no audience":      {[]string{"--jwt-issuer=https://x", "--jwt-jwks-url=https://x/keys"}, "the audience is missing"},
		"no issuer":        {[]string{"--jwt-audience=y", "--jwt-jwks-url=https://x/keys"}, "the issuer is missing"},
		"no keys":          {[]string{"--jwt-issuer=https://x", "--jwt-audience=y"}, "a URL or a file"},
		"keys in clear":    {append(good[:2:2], "--jwt-jwks-url=http://x/keys"), "give one with https"},
		"a shared secret":  {append(good, "--jwt-algorithms=HS256"), `"HS256" cannot be allowed`},
		"a scope too many": {append(good, "--jwt-scopes=messages:read,all"), `there is no scope "all"`},
		"all accounts":     {[]string{"--jwt-all-accounts"}, "say with --jwt-issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}
