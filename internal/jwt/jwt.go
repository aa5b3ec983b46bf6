// Package jwt tells by a JSON Web Token who calls: RFC 7519 as profiled for access
// tokens by RFC 9068, with the cautions of RFC 8725. The issuer's public keys come
// from a JSON Web Key Set (RFC 7517). What a token may do is what it says, and no
// more than the operator lets tokens of this issuer do at most.
package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-mail/postern/internal/access"
)

// maxToken bounds what is looked at. Access tokens are a few hundred bytes, and
// with many claims one or two thousand.
const maxToken = 8 << 10

// Algorithms are the signatures that can be allowed. "none" and those with a
// shared secret (HS256) cannot: with the latter, a public key that is taken for
// the secret lets anybody sign.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// DefaultAlgorithms are those of common issuers.
func DefaultAlgorithms() []string { return []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} }

// DefaultScopes is what tokens may do at most unless the operator says otherwise:
// all but to make API tokens, which would outlive them, and what concerns the
// gateway itself.
func DefaultScopes() []access.Scope {
	return slices.DeleteFunc(access.Scopes(), func(s access.Scope) bool { return s == access.Admin || s == access.TokensAdmin })
}

// Config says which tokens are taken and what they mean.
type Config struct {
	// Issuer is the iss that tokens must have, to the letter.
	Issuer string
	// Audiences are the aud of which tokens must have one.
	Audiences []string
	// JWKSURL or JWKSFile, one of them, is where the issuer's keys are.
	JWKSURL, JWKSFile string
	// Algorithms are those allowed.
	Algorithms []string
	// Leeway is by how much clocks may differ.
	Leeway time.Duration
	// MaxLifetime bounds how far ahead a token's end may be: it cannot be revoked.
	MaxLifetime time.Duration
	// Scopes is what tokens may do at most.
	Scopes []access.Scope
	// ScopeClaim, AccountsClaim and LabelsClaim name the claims that say what a
	// token may do.
	ScopeClaim, AccountsClaim, LabelsClaim string
	// AllAccounts lets tokens that name neither accounts nor labels have all.
	AllAccounts bool
	Log         *slog.Logger
}

// Validate checks what no type can. Its errors name the field.
func (c *Config) Validate() error {
	switch {
	case c.Issuer == "":
		return errors.New("the issuer is missing")
	case len(c.Audiences) == 0 || slices.Contains(c.Audiences, ""):
		// Else a token that the issuer made for somebody else would do.
		return errors.New("the audience is missing")
	case (c.JWKSURL == "") == (c.JWKSFile == ""):
		return errors.New("the issuer's keys come from a URL or a file: give one of them")
	case len(c.Algorithms) == 0:
		return errors.New("no algorithm is allowed")
	case c.Leeway < 0 || c.Leeway > 5*time.Minute:
		return fmt.Errorf("the leeway is %s: give from 0s to 5m", c.Leeway)
	case c.MaxLifetime < time.Minute || c.MaxLifetime > 30*24*time.Hour:
		return fmt.Errorf("the longest lifetime is %s: give from 1m to 720h", c.MaxLifetime)
	case c.ScopeClaim == "" || c.AccountsClaim == "" || c.LabelsClaim == "":
		return errors.New("the name of a claim is empty")
	}
	for _, algorithm := range c.Algorithms {
		if !slices.Contains(Algorithms(), algorithm) {
			return fmt.Errorf("the algorithm %q cannot be allowed: give of %s", algorithm, strings.Join(Algorithms(), ", "))
		}
	}
	for _, scope := range c.Scopes {
		if !scope.Valid() {
			return fmt.Errorf("there is no scope %q: give of %v", scope, access.Scopes())
		}
	}
	if c.JWKSURL != "" {
		return checkURL(c.JWKSURL)
	}
	return nil
}

// Authenticator tells by JSON Web Tokens who calls. It has to Run for its keys to
// come and to be renewed.
type Authenticator struct {
	cfg        Config
	algorithms []jose.SignatureAlgorithm
	prefix     string // of the ids of principals
	keys       source
}

// source is where keys come from.
type source interface {
	// find gives the keys that a token may be signed with. It fails with an
	// [access.UnavailableError] when there are none at all.
	find(ctx context.Context, id string, algorithm jose.SignatureAlgorithm) ([]*key, error)
	Run(ctx context.Context) error
}

// Open makes an authenticator. A file of keys has to be there; a server of keys
// may come later.
func Open(cfg Config) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	a := &Authenticator{cfg: cfg, prefix: "jwt:" + issuerName(cfg.Issuer) + ":"}
	for _, algorithm := range cfg.Algorithms {
		a.algorithms = append(a.algorithms, jose.SignatureAlgorithm(algorithm))
	}
	var err error
	if cfg.JWKSFile != "" {
		a.keys, err = openFile(cfg.JWKSFile, cfg.Log)
	} else {
		a.keys = newRemote(cfg.JWKSURL, cfg.Log)
	}
	return a, err
}

// issuerName is short: there is one issuer, and the log has it in each line.
func issuerName(issuer string) string {
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return issuer
}

// Run keeps the keys in step with where they come from until ctx ends.
func (a *Authenticator) Run(ctx context.Context) error { return a.keys.Run(ctx) }

// Authenticate implements [access.Authenticator]. Until the signature is verified
// nothing of a token is believed and nothing is said about it.
func (a *Authenticator) Authenticate(ctx context.Context, shown access.Credentials) (access.Principal, error) {
	token := shown.Token.Reveal()
	if !hasForm(token) {
		return access.Principal{}, access.ErrInvalid
	}
	// Its header alone says which of the allowed algorithms it is, and each key is
	// for one family of them. Other headers that name keys (jku, jwk, x5u, x5c)
	// are of no effect.
	signed, err := jose.ParseSignedCompact(token, a.algorithms)
	if err != nil {
		return access.Principal{}, access.ErrInvalid // why is for nobody to know
	}
	header := signed.Signatures[0].Protected
	candidates, err := a.keys.find(ctx, header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return access.Principal{}, err
	}
	for _, k := range candidates {
		payload, err := signed.Verify(k.public)
		if err != nil {
			continue
		}
		typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
		who, problem := a.read(typ, payload, shown.Certificate, time.Now())
		if problem != "" {
			return access.Principal{}, &access.InvalidError{Problem: problem}
		}
		return access.Principal{
			ID: a.prefix + who.subject, Grant: who.grant, Ended: k.endings.At(who.end),
		}, nil
	}
	return access.Principal{}, access.ErrInvalid
}

// hasForm tells a signed token from what other ways in take: three parts, of which
// the first is the JSON of an object.
func hasForm(token string) bool {
	return len(token) <= maxToken && strings.HasPrefix(token, "ey") && strings.Count(token, ".") == 2
}
