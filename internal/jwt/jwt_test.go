package jwt_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/jwt"
	"github.com/postern-mail/postern/internal/secret"
)

const (
	issuer   = "https://login.example.com/realms/main"
	audience = "https://postern.example.com"
)

// keys are an issuer's.
type keys struct {
	rsa, other *rsa.PrivateKey
	small      *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}

func newKeys(t testing.TB) *keys {
	t.Helper()
	k := &keys{}
	var err error
	for key, bits := range map[**rsa.PrivateKey]int{&k.rsa: 2048, &k.other: 2048, &k.small: 1024} {
		if *key, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			t.Fatal(err)
		}
	}
	if k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return k
}

// set is the issuer's key set, with much in it that is of no use.
func (k *keys) set(t testing.TB) []byte {
	t.Helper()
	document := map[string]any{"keys": []any{
		jose.JSONWebKey{KeyID: "rsa", Key: k.rsa.Public(), Algorithm: "RS256", Use: "sig"},
		jose.JSONWebKey{KeyID: "rsa-any", Key: k.other.Public()},
		jose.JSONWebKey{KeyID: "ec", Key: k.ec.Public()},
		jose.JSONWebKey{KeyID: "ed", Key: k.ed.Public()},
		jose.JSONWebKey{KeyID: "small", Key: k.small.Public()},
		jose.JSONWebKey{KeyID: "enc", Key: k.ec.Public(), Use: "enc"},
		map[string]any{"kty": "oct", "kid": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"},
		map[string]any{"kty": "AKP", "kid": "tomorrow"},
		"no key at all",
	}}
	encoded, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// claims are those of a token that is taken.
func claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{
		"iss": issuer, "aud": audience, "sub": "app-1", "exp": now + 600, "iat": now - 5, "scope": "openid messages:read",
		"postern_accounts": []string{"accounts/ann"},
	}
	for name, value := range changes {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
	return c
}

// encode is a part of a token.
func encode(t testing.TB, part any) string {
	t.Helper()
	raw, ok := part.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(part); err != nil {
			t.Fatal(err)
		}
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// sign signs claims, with any headers.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, headers map[string]any, payload any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range headers {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := payload.([]byte)
	if !ok {
		if raw, err = json.Marshal(payload); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := signer.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// config is that of an authenticator whose keys are in a file.
func config(t testing.TB, k *keys) jwt.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, k.set(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return jwt.Config{
		Issuer: issuer, Audiences: []string{audience, "postern"}, JWKSFile: file, Algorithms: jwt.DefaultAlgorithms(),
		Leeway: 30 * time.Second, MaxLifetime: 24 * time.Hour, Scopes: jwt.DefaultScopes(),
		ScopeClaim: "scope", AccountsClaim: "postern_accounts", LabelsClaim: "postern_labels", Log: slog.New(slog.DiscardHandler),
	}
}

// start opens an authenticator and runs it until the test ends.
func start(t testing.TB, cfg jwt.Config) *jwt.Authenticator {
	t.Helper()
	a, err := jwt.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return a
}

func show(t testing.TB, a *jwt.Authenticator, token string) (access.Principal, error) {
	t.Helper()
	return a.Authenticate(t.Context(), access.Credentials{Token: secret.New(token)})
}

// problem is what is said to who holds a token, "" when it is taken and "-" when
// nothing is said.
func problem(err error) string {
	if invalid, ok := errors.AsType[*access.InvalidError](err); ok {
		return invalid.Problem
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, access.ErrInvalid):
		return "-"
	}
	return err.Error()
}

func TestTokens(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	a := start(t, config(t, k))
	kid := func(id string) map[string]any { return map[string]any{"kid": id} }
	with := func(changes map[string]any) string { return sign(t, jose.RS256, k.rsa, kid("rsa"), claims(changes)) }
	typ := func(text string) string {
		return sign(t, jose.RS256, k.rsa, map[string]any{"kid": "rsa", "typ": text}, claims(nil))
	}
	now := time.Now().Unix()
	good := with(nil)
	parts := strings.Split(good, ".")
	publicDER, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	embedded := func() string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.small}, &jose.SignerOptions{EmbedJWK: true})
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(claims(nil))
		signed, err := signer.Sign(raw)
		if err != nil {
			t.Fatal(err)
		}
		token, _ := signed.CompactSerialize()
		return token
	}
	const nothing = "-"
	for name, c := range map[string]struct{ token, says string }{
		"RSA":                        {good, ""},
		"RSA-PSS":                    {sign(t, jose.PS256, k.other, kid("rsa-any"), claims(nil)), ""},
		"EC":                         {sign(t, jose.ES256, k.ec, kid("ec"), claims(nil)), ""},
		"EdDSA":                      {sign(t, jose.EdDSA, k.ed, kid("ed"), claims(nil)), ""},
		"no kid, one key that fits":  {sign(t, jose.EdDSA, k.ed, nil, claims(nil)), ""},
		"no kid, two keys that fit":  {sign(t, jose.RS256, k.rsa, nil, claims(nil)), nothing},
		"type at+jwt":                {typ("at+jwt"), ""},
		"type application/at+JWT":    {typ("application/at+JWT"), ""},
		"type of a logout":           {typ("logout+jwt"), `is of the type "logout+jwt" and not an access token`},
		"several audiences":          {with(map[string]any{"aud": []string{"x", "postern"}}), ""},
		"expired within the leeway":  {with(map[string]any{"exp": now - 5}), ""},
		"valid soon, within leeway":  {with(map[string]any{"nbf": now + 15}), ""},
		"an end with a fraction":     {with(map[string]any{"exp": float64(now) + 60.5}), ""},
		"expired":                    {with(map[string]any{"exp": now - 600}), "has expired (exp)"},
		"no end":                     {with(map[string]any{"exp": nil}), "has no end (exp)"},
		"an end that is a text":      {with(map[string]any{"exp": "tomorrow"}), "has no end (exp)"},
		"an end that is a flood":     {with(map[string]any{"exp": 1e300}), "has no end (exp)"},
		"an end in a year":           {with(map[string]any{"exp": now + 31536000}), "ends more than 24h0m0s from now (exp), which is more than is taken here"},
		"not valid yet":              {with(map[string]any{"nbf": now + 600}), "is not valid yet (nbf)"},
		"a start that is no number":  {with(map[string]any{"nbf": "now"}), "is not valid yet (nbf)"},
		"issued in the future":       {with(map[string]any{"iat": now + 600}), "was issued in the future (iat)"},
		"another issuer":             {with(map[string]any{"iss": issuer + "/"}), "is of another issuer (iss)"},
		"no issuer":                  {with(map[string]any{"iss": nil}), "is of another issuer (iss)"},
		"several issuers":            {with(map[string]any{"iss": []string{issuer}}), "is of another issuer (iss)"},
		"another audience":           {with(map[string]any{"aud": "https://other.example.com"}), "is for another audience (aud)"},
		"no audience":                {with(map[string]any{"aud": nil}), "is for another audience (aud)"},
		"an audience of numbers":     {with(map[string]any{"aud": []any{1, "postern"}}), "is for another audience (aud)"},
		"no subject":                 {with(map[string]any{"sub": nil}), "has no subject (sub) of use"},
		"a subject of two lines":     {with(map[string]any{"sub": "a\nlevel=ERROR"}), "has no subject (sub) of use"},
		"a subject that is a novel":  {with(map[string]any{"sub": strings.Repeat("x", 256)}), "has no subject (sub) of use"},
		"no accounts":                {with(map[string]any{"postern_accounts": nil}), "names no accounts, in neither of the claims postern_accounts and postern_labels"},
		"an empty list of accounts":  {with(map[string]any{"postern_accounts": []string{}}), `has a claim postern_accounts that is no list of accounts, such as ["accounts/ann"]`},
		"accounts that are null":     {sign(t, jose.RS256, k.rsa, kid("rsa"), []byte(strings.Replace(string(mustJSON(t, claims(nil))), `["accounts/ann"]`, "null", 1))), `has a claim postern_accounts that is no list of accounts, such as ["accounts/ann"]`},
		"something else than names":  {with(map[string]any{"postern_accounts": []string{"ann"}}), `has a claim postern_accounts that names "ann", which is no account such as accounts/ann`},
		"labels that are none":       {with(map[string]any{"postern_labels": map[string]any{}}), `has a claim postern_labels that is no object of labels, such as {"team":"sales"}`},
		"a label that is a number":   {with(map[string]any{"postern_labels": map[string]any{"team": 1}}), `has a claim postern_labels that has a label "team" that is no text`},
		"scopes that are a number":   {with(map[string]any{"scope": 7}), "has a claim scope that is neither a text nor a list of texts"},
		"bound by DPoP":              {with(map[string]any{"cnf": map[string]any{"jkt": "x"}}), "is bound to a key (cnf) in a way that cannot be checked here"},
		"bound to a certificate":     {with(map[string]any{"cnf": map[string]any{"x5t#S256": "x"}}), "is bound to a client certificate (cnf), which the connection does not have"},
		"a claim twice":              {sign(t, jose.RS256, k.rsa, kid("rsa"), append(mustJSON(t, claims(nil))[:len(mustJSON(t, claims(nil)))-1], `,"sub":"admin"}`...)), "has claims that cannot be read"},
		"claims that are a list":     {sign(t, jose.RS256, k.rsa, kid("rsa"), []byte("[]")), "has claims that cannot be read"},
		"claims that are nothing":    {sign(t, jose.RS256, k.rsa, kid("rsa"), []byte("null")), "has claims that cannot be read"},
		"another JWT in it":          {sign(t, jose.RS256, k.rsa, map[string]any{"kid": "rsa", "cty": "JWT"}, []byte(good)), "has claims that cannot be read"},
		"other claims":               {parts[0] + "." + encode(t, claims(map[string]any{"sub": "admin"})) + "." + parts[2], nothing},
		"another signature":          {parts[0] + "." + parts[1] + "." + encode(t, make([]byte, 256)), nothing},
		"no signature":               {parts[0] + "." + parts[1] + ".", nothing},
		"none":                       {encode(t, map[string]any{"alg": "none", "kid": "rsa"}) + "." + parts[1] + ".", nothing},
		"None":                       {encode(t, map[string]any{"alg": "None"}) + "." + parts[1] + ".", nothing},
		"no algorithm":               {encode(t, map[string]any{"kid": "rsa"}) + "." + parts[1] + "." + parts[2], nothing},
		"the public key as a secret": {sign(t, jose.HS256, publicDER, kid("rsa"), claims(nil)), nothing},
		"the secret of the set":      {sign(t, jose.HS256, []byte("secret-secret-secret-secret-secr"), kid("oct"), claims(nil)), nothing},
		"an algorithm not allowed":   {sign(t, jose.RS512, k.other, kid("rsa-any"), claims(nil)), nothing},
		"not the key's algorithm":    {sign(t, jose.PS256, k.rsa, kid("rsa"), claims(nil)), nothing},
		"another key's id":           {sign(t, jose.RS256, k.other, kid("rsa"), claims(nil)), nothing},
		"a key of another type":      {sign(t, jose.ES256, k.ec, kid("rsa"), claims(nil)), nothing},
		"a key for encryption":       {sign(t, jose.ES256, k.ec, kid("enc"), claims(nil)), nothing},
		"a key that is too small":    {sign(t, jose.RS256, k.small, kid("small"), claims(nil)), nothing},
		"an unknown key":             {sign(t, jose.RS256, k.other, kid("../../etc/passwd"), claims(nil)), nothing},
		"a key of its own":           {embedded(), nothing},
		"a key from elsewhere":       {sign(t, jose.RS256, k.small, map[string]any{"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/x", "kid": "x"}, claims(nil)), nothing},
		"an unknown critical header": {encode(t, map[string]any{"alg": "RS256", "kid": "rsa", "crit": []string{"x"}, "x": 1}) + "." + parts[1] + "." + parts[2], nothing},
		"encrypted":                  {good + ".x.y", nothing},
		"huge":                       {with(map[string]any{"x": strings.Repeat("x", 9000)}), nothing},
		"an API token":               {"postern_abc_def", nothing},
		"dots":                       {"ey..", nothing},
		"garbage":                    {"eyJ.eyJ.eyJ", nothing},
		"nothing":                    {"", nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who, err := show(t, a, c.token)
			if got := problem(err); got != c.says {
				t.Errorf("says %q, want %q", got, c.says)
			}
			if err == nil && who.ID != "jwt:login.example.com:app-1" {
				t.Errorf("it is %s", who.ID)
			}
		})
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestGrants(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	cfg := config(t, k)
	narrow, all := cfg, cfg
	narrow.Scopes, narrow.ScopeClaim = []access.Scope{access.MessagesRead, access.EventsRead}, "roles"
	all.AllAccounts, all.Scopes = true, access.Scopes()
	byDefault := start(t, cfg)
	for name, c := range map[string]struct {
		a       *jwt.Authenticator
		changes map[string]any
		want    string
	}{
		"as claimed":              {byDefault, nil, "{[messages:read] [ann] map[]}"},
		"what it holds":           {byDefault, map[string]any{"scope": "messages:write"}, "{[messages:read messages:write] [ann] map[]}"},
		"a list":                  {byDefault, map[string]any{"scope": []string{"events:read", "x"}}, "{[events:read] [ann] map[]}"},
		"no scopes":               {byDefault, map[string]any{"scope": nil}, "{[] [ann] map[]}"},
		"labels":                  {byDefault, map[string]any{"postern_accounts": nil, "postern_labels": map[string]any{"team": "sales"}}, "{[messages:read] [] map[team:sales]}"},
		"both":                    {byDefault, map[string]any{"postern_labels": map[string]any{"team": "sales"}}, "{[messages:read] [ann] map[team:sales]}"},
		"all accounts, said":      {byDefault, map[string]any{"postern_accounts": []string{"accounts/-"}}, "{[messages:read] [] map[]}"},
		"admin below the ceiling": {byDefault, map[string]any{"scope": "admin tokens:admin"}, "{[accounts:read accounts:write events:read messages:read messages:write submissions:read submissions:send templates:read templates:write webhooks:admin] [ann] map[]}"},
		"above the ceiling":       {start(t, narrow), map[string]any{"roles": []string{"messages:write", "webhooks:admin"}, "scope": nil}, "{[messages:read] [ann] map[]}"},
		"all accounts, unsaid":    {start(t, all), map[string]any{"postern_accounts": nil, "scope": "admin"}, "{" + fmt.Sprint(access.Scopes()) + " [] map[]}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(c.changes))
			who, err := show(t, c.a, token)
			if got := fmt.Sprint(who.Grant); err != nil || got != c.want {
				t.Errorf("%s, want %s (%v)", got, c.want, err)
			}
		})
	}
}

// A token can be bound to the client's certificate (RFC 8705).
func TestBoundToCertificate(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	a := start(t, config(t, k))
	ca := certtest.New(t)
	own, other := ca.Client(t, nil).Leaf, ca.Client(t, nil).Leaf
	sum := sha256.Sum256(own.Raw)
	token := secret.New(sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(map[string]any{
		"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
	})))
	if _, err := a.Authenticate(t.Context(), access.Credentials{Token: token, Certificate: own}); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
	_, err := a.Authenticate(t.Context(), access.Credentials{Token: token, Certificate: other})
	if problem(err) != "is bound to another client certificate (cnf)" {
		t.Errorf("with another: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), access.Credentials{Certificate: own}); problem(err) != "-" {
		t.Errorf("without the token: %v", err)
	}
}

func awaitEnd(t *testing.T, who access.Principal, what string) {
	t.Helper()
	select {
	case <-who.Ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end the caller", what)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	cfg := config(t, k)
	cfg.Leeway = 0
	a := start(t, cfg)
	token := func(id string, algorithm jose.SignatureAlgorithm, key crypto.PrivateKey, seconds int64) access.Principal {
		who, err := show(t, a, sign(t, algorithm, key, map[string]any{"kid": id}, claims(map[string]any{"exp": time.Now().Unix() + seconds})))
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	soon, later, stays := token("ec", jose.ES256, k.ec, 2), token("ec", jose.ES256, k.ec, 600), token("ed", jose.EdDSA, k.ed, 600)
	awaitEnd(t, soon, "the end of a token")
	set := fmt.Sprintf(`{"keys":[%s]}`, mustJSON(t, jose.JSONWebKey{KeyID: "ed", Key: k.ed.Public()}))
	if err := os.WriteFile(cfg.JWKSFile, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, later, "the end of a key")
	select {
	case <-stays.Ended:
		t.Error("the end of another key ends a caller")
	default:
	}
	if _, err := show(t, a, sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(nil))); problem(err) != "-" {
		t.Errorf("a token of a key that is gone: %v", err)
	}
}

// keyServer gives out whatever it is told to.
type keyServer struct {
	*httptest.Server
	answer atomic.Pointer[func(w http.ResponseWriter)]
	asked  atomic.Int64
}

func newKeyServer(t testing.TB, document []byte) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.give(document)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		(*s.answer.Load())(w)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) give(document []byte) {
	s.act(func(w http.ResponseWriter) { _, _ = w.Write(document) })
}

func (s *keyServer) act(answer func(w http.ResponseWriter)) { s.answer.Store(&answer) }

// remote is an authenticator whose keys a server gives out.
func remote(t testing.TB, k *keys, url string) jwt.Config {
	t.Helper()
	cfg := config(t, k)
	cfg.JWKSFile, cfg.JWKSURL = "", url
	return cfg
}

func TestKeysOfAServer(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	one := func(id string, key crypto.PublicKey) []byte {
		return fmt.Appendf(nil, `{"keys":[%s]}`, mustJSON(t, jose.JSONWebKey{KeyID: id, Key: key}))
	}
	server := newKeyServer(t, one("ec", k.ec.Public()))
	a := start(t, remote(t, k, server.URL))
	jwt.AskEvery(a, 0)
	ec := sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(nil))
	ed := sign(t, jose.EdDSA, k.ed, map[string]any{"kid": "ed"}, claims(nil))
	who, err := show(t, a, ec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := show(t, a, ed); problem(err) != "-" {
		t.Errorf("of a key that there is not: %v", err)
	}
	server.give(one("ed", k.ed.Public())) // the issuer has changed its keys
	if _, err := show(t, a, ed); err != nil {
		t.Errorf("of a new key: %v", err)
	}
	awaitEnd(t, who, "that a key is gone")
	if _, err := show(t, a, ec); problem(err) != "-" {
		t.Errorf("of a key that is gone: %v", err)
	}
	// Whatever goes wrong, the keys that there are stay.
	for name, answer := range map[string]func(w http.ResponseWriter){
		"down":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"cut":       func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"elsewhere": func(w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(http.StatusFound) },
		"no JSON":   func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"no keys":   func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no use":    func(w http.ResponseWriter) { _, _ = w.Write(one("small", k.small.Public())) },
		"a flood": func(w http.ResponseWriter) {
			_, _ = w.Write(append(one("ec", k.ec.Public()), strings.Repeat(" ", 2<<20)...))
		},
		// What is behind the flood would be a key.
		"a bomb": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			bomb := gzip.NewWriter(w)
			_, _ = bomb.Write(bytes.Repeat([]byte(" "), 4<<20))
			_, _ = bomb.Write(one("ec", k.ec.Public()))
			_ = bomb.Close()
		},
		"many keys":  func(w http.ResponseWriter) { _, _ = fmt.Fprintf(w, `{"keys":[%s{}]}`, strings.Repeat("{},", 100)) },
		"no content": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
	} {
		server.act(answer)
		before := server.asked.Load()
		if _, err := show(t, a, ec); problem(err) != "-" {
			t.Errorf("%s: of a key that is gone: %v", name, err)
		}
		if server.asked.Load() == before {
			t.Errorf("%s: nobody asked", name)
		}
		if _, err := show(t, a, ed); err != nil {
			t.Errorf("%s: of a key that is there: %v", name, err)
		}
	}
}

func TestMadeUpKeysDoNotHammer(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	server := newKeyServer(t, k.set(t))
	a := start(t, remote(t, k, server.URL))
	jwt.AskEvery(a, time.Hour)
	for i := range 50 {
		token := sign(t, jose.ES256, k.ec, map[string]any{"kid": fmt.Sprintf("made-up-%d", i)}, claims(nil))
		if _, err := show(t, a, token); problem(err) != "-" {
			t.Fatal(err)
		}
	}
	if n := server.asked.Load(); n != 1 {
		t.Errorf("the server of keys was asked %d times", n)
	}
	if _, err := show(t, a, sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(nil))); err != nil {
		t.Error(err)
	}
}

func TestStartWithoutKeys(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	server := newKeyServer(t, nil)
	server.act(func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	a := start(t, remote(t, k, server.URL))
	token := sign(t, jose.ES256, k.ec, map[string]any{"kid": "ec"}, claims(nil))
	_, err := show(t, a, token)
	if unavailable, ok := errors.AsType[*access.UnavailableError](err); !ok || !strings.Contains(unavailable.Error(), "503") {
		t.Fatalf("without keys: %v", err)
	}
	if _, err := show(t, a, "an-api-token"); problem(err) != "-" {
		t.Errorf("what is no JWT: %v", err)
	}
	server.give(k.set(t))
	deadline := time.Now().Add(30 * time.Second)
	for _, err = show(t, a, token); err != nil; _, err = show(t, a, token) {
		if time.Now().After(deadline) {
			t.Fatalf("the keys do not come: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	good := config(t, newKeys(t))
	for says, change := range map[string]func(*jwt.Config){
		"the issuer is missing":                func(c *jwt.Config) { c.Issuer = "" },
		"the audience is missing":              func(c *jwt.Config) { c.Audiences = []string{""} },
		"give one of them":                     func(c *jwt.Config) { c.JWKSURL = "https://x/" },
		`"HS256" cannot be allowed`:            func(c *jwt.Config) { c.Algorithms = []string{"RS256", "HS256"} },
		`"none" cannot be allowed`:             func(c *jwt.Config) { c.Algorithms = []string{"none"} },
		"no algorithm":                         func(c *jwt.Config) { c.Algorithms = nil },
		"the leeway is 1h":                     func(c *jwt.Config) { c.Leeway = time.Hour },
		"the longest lifetime":                 func(c *jwt.Config) { c.MaxLifetime = 0 },
		"the name of a claim":                  func(c *jwt.Config) { c.ScopeClaim = "" },
		`there is no scope "all"`:              func(c *jwt.Config) { c.Scopes = []access.Scope{"all"} },
		"give one with https":                  func(c *jwt.Config) { c.JWKSFile, c.JWKSURL = "", "http://login.example.com/keys" },
		"the URL of the keys is none":          func(c *jwt.Config) { c.JWKSFile, c.JWKSURL = "", "https://ann:secret@login.example.com/keys" },
		"the URL of the keys is ftp://":        func(c *jwt.Config) { c.JWKSFile, c.JWKSURL = "", "ftp://127.0.0.1/keys" },
		"no such file":                         func(c *jwt.Config) { c.JWKSFile += "x" },
		"keys of JSON Web Tokens: no JSON Web": func(c *jwt.Config) { c.JWKSFile = written(t, "x") },
		"no key of use in the key set: key 1":  func(c *jwt.Config) { c.JWKSFile = written(t, `{"keys":[{"kty":"oct","k":"AAAA"}]}`) },
	} {
		c := good
		change(&c)
		if _, err := jwt.Open(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func FuzzAuthenticate(f *testing.F) {
	k := newKeys(f)
	cfg := config(f, k)
	a, err := jwt.Open(cfg)
	if err != nil {
		f.Fatal(err)
	}
	token := sign(f, jose.ES256, k.ec, map[string]any{"kid": "ec", "typ": "at+jwt"}, claims(nil))
	f.Add(token)
	f.Add(strings.Replace(token, ".", "..", 1))
	f.Fuzz(func(t *testing.T, shown string) {
		who, err := a.Authenticate(context.Background(), access.Credentials{Token: secret.New(shown)})
		if err == nil && who.ID != "jwt:login.example.com:app-1" {
			t.Errorf("%q is taken as %s", shown, who.ID)
		}
	})
}

// FuzzClaims gives claims that the issuer has signed.
func FuzzClaims(f *testing.F) {
	k := newKeys(f)
	a, err := jwt.Open(config(f, k))
	if err != nil {
		f.Fatal(err)
	}
	full := claims(map[string]any{"nbf": 1, "cnf": map[string]any{"x5t#S256": "x"}, "postern_labels": map[string]any{"a": "b"}})
	f.Add(mustJSON(f, full))
	small := maps.Clone(full)
	delete(small, "cnf")
	f.Add(mustJSON(f, small))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := sign(t, jose.EdDSA, k.ed, map[string]any{"kid": "ed"}, payload)
		who, err := a.Authenticate(context.Background(), access.Credentials{Token: secret.New(token)})
		if err == nil && (who.ID == "" || who.Ended == nil || who.Has(access.Admin)) {
			t.Errorf("%s is taken as %v", payload, who)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(newKeys(f).set(f))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"AQ","e":"AQAB"}]}`))
	f.Fuzz(func(_ *testing.T, document []byte) {
		jwt.ParseKeys(document) // it must not panic
	})
}
