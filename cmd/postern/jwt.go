package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/jwt"
)

// jwtSettings say which JSON Web Tokens are taken.
type jwtSettings struct {
	Issuer      string
	Audiences   []string
	JWKSURL     string
	JWKSFile    string
	Algorithms  []string
	Leeway      time.Duration
	MaxLifetime time.Duration
	Scopes      []string

	ScopeClaim    string
	AccountsClaim string
	LabelsClaim   string
	AllAccounts   bool
}

func (s *jwtSettings) flags(sources func(string) cli.ValueSourceChain) []cli.Flag {
	text := func(name, value string, dest *string, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: sources(name)}
	}
	list := func(name string, value []string, dest *[]string, usage string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Value: value, Destination: dest, Usage: usage, Sources: sources(name)}
	}
	return []cli.Flag{
		text("jwt-issuer", "", &s.Issuer, "take JSON Web Tokens of this `ISSUER`, the iss in them"),
		list("jwt-audience", nil, &s.Audiences, "the `AUDIENCES` of which such a token must have one, its aud, comma-separated"),
		text("jwt-jwks-url", "", &s.JWKSURL, "where the issuer's public keys are, the https `URL` of a JSON Web Key Set"),
		text("jwt-jwks-file", "", &s.JWKSFile, "the issuer's public keys, a `FILE` that is read again when it changes"),
		list("jwt-algorithms", jwt.DefaultAlgorithms(), &s.Algorithms, "the `ALGORITHMS` that such tokens may be signed with, comma-separated"),
		&cli.DurationFlag{Name: "jwt-leeway", Value: 30 * time.Second, Destination: &s.Leeway, Sources: sources("jwt-leeway"),
			Usage: "take the issuer's clock to differ by `DURATION` at most"},
		&cli.DurationFlag{Name: "jwt-max-lifetime", Value: 24 * time.Hour, Destination: &s.MaxLifetime, Sources: sources("jwt-max-lifetime"),
			Usage: "refuse such tokens whose end is more than `DURATION` from now"},
		list("jwt-scopes", scopeNames(jwt.DefaultScopes()), &s.Scopes, "the `SCOPES` that such tokens may have at most, comma-separated"),
		text("jwt-scope-claim", "scope", &s.ScopeClaim, "the `CLAIM` that has a token's scopes"),
		text("jwt-accounts-claim", "postern_accounts", &s.AccountsClaim, "the `CLAIM` that has the accounts a token is for"),
		text("jwt-labels-claim", "postern_labels", &s.LabelsClaim, "the `CLAIM` that has the labels of accounts a token is for"),
		&cli.BoolFlag{Name: "jwt-all-accounts", Destination: &s.AllAccounts, Sources: sources("jwt-all-accounts"),
			Usage: "let such tokens have all accounts that name neither accounts nor labels"},
	}
}

func scopeNames(scopes []access.Scope) []string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return names
}

// used reports whether JSON Web Tokens are taken at all.
func (s *jwtSettings) used() bool {
	return s.Issuer != "" || len(s.Audiences) > 0 || s.JWKSURL != "" || s.JWKSFile != ""
}

// config gives the settings the form in which they are used.
func (s *jwtSettings) config(log *slog.Logger) jwt.Config {
	cfg := jwt.Config{
		Issuer: s.Issuer, Audiences: trimmed(s.Audiences), JWKSURL: s.JWKSURL, JWKSFile: s.JWKSFile,
		Algorithms: trimmed(s.Algorithms), Leeway: s.Leeway, MaxLifetime: s.MaxLifetime,
		ScopeClaim: s.ScopeClaim, AccountsClaim: s.AccountsClaim, LabelsClaim: s.LabelsClaim, AllAccounts: s.AllAccounts, Log: log,
	}
	for _, name := range trimmed(s.Scopes) {
		cfg.Scopes = append(cfg.Scopes, access.Scope(name))
	}
	return cfg
}

func trimmed(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = strings.TrimSpace(text)
	}
	return out
}

func (s *jwtSettings) validate() error {
	if !s.used() {
		if s.AllAccounts {
			return errors.New("--jwt-all-accounts: say with --jwt-issuer, --jwt-audience and --jwt-jwks-url which tokens are taken")
		}
		return nil
	}
	cfg := s.config(nil)
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("--jwt-issuer and the settings beside it: %w", err)
	}
	return nil
}
