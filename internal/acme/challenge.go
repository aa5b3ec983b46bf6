package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/crypto/acme"
)

// ConfigFor is the configuration for a connection by which an authority looks whose
// name it is (RFC 8737), nil for all others.
func (c *Certificates) ConfigFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		return nil, nil
	}
	domain := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if c.cfg.HTTP || !slices.Contains(c.cfg.Domains, domain) {
		return nil, fmt.Errorf("nothing is to be proved of %q", domain)
	}
	ctx, cancel := context.WithTimeout(hello.Context(), storeTimeout)
	defer cancel()
	stored, err := c.cfg.Store.get(ctx, slot(kindChallenge, "alpn", domain))
	if err != nil {
		return nil, err
	}
	pair, err := parsePair(stored)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{*pair}, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12,
	}, nil
}

// challengePath is where authorities look on port 80.
const challengePath = "/.well-known/acme-challenge/"

// maxChallenge bounds the token in the path. Those of authorities are of 43
// characters.
const maxChallenge = 128

// ServeHTTP answers authorities on port 80, and nobody else. It redirects nothing:
// who has sent a token in clear should be told, not helped along.
func (c *Certificates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, found := strings.CutPrefix(r.URL.Path, challengePath)
	if !found || token == "" || len(token) > maxChallenge || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "This port is for certificate authorities. The API is at an https URL.", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	answer, err := c.cfg.Store.get(ctx, slot(kindChallenge, "http", token))
	if err != nil {
		http.Error(w, "There is no such challenge.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(answer) //nolint:gosec // it is ours
}
