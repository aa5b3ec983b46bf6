package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-mail/postern/internal/access"
)

const (
	// maxKeys bounds a key set: issuers have a handful.
	maxKeys = 64
	// minRSABits is NIST's bound (SP 800-131A).
	minRSABits = 2048
)

// key is a public key of the issuer's.
type key struct {
	id        string
	algorithm string // the only one that it is for; empty for each of its family
	public    crypto.PublicKey
	// print tells whether a key of a later set is the same.
	print string
	// endings has those whose tokens it signed.
	endings access.Endings
}

// parseKeys reads a JSON Web Key Set. Keys that are of no use for signatures are
// left out, as RFC 7517 section 5 has it; said is why. A set without any that can
// be used is an error.
func parseKeys(document []byte) (keys []*key, said []string, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, nil, fmt.Errorf("no JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("a key set of %d keys, more than %d", len(set.Keys), maxKeys)
	}
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			said = append(said, fmt.Sprintf("key %d: %v", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, nil, fmt.Errorf("no key of use in the key set: %s", strings.Join(said, "; "))
	}
	return keys, said, nil
}

func parseKey(raw json.RawMessage) (*key, error) {
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if parsed.Use != "" && parsed.Use != "sig" {
		return nil, fmt.Errorf("it is for %q", shorten(parsed.Use))
	}
	if !parsed.Valid() || !parsed.IsPublic() {
		return nil, errors.New("it is no public key")
	}
	switch public := parsed.Key.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("it has %d bits, fewer than %d", public.N.BitLen(), minRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("it is a %T", public)
	}
	sum, err := parsed.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &key{
		id: parsed.KeyID, algorithm: parsed.Algorithm, public: parsed.Key,
		print: parsed.KeyID + "\x00" + parsed.Algorithm + "\x00" + string(sum),
	}, nil
}

// fits reports whether a key is for an algorithm: by what it says, and by its type
// and curve (RFC 7518 section 3.1, RFC 8037).
func (k *key) fits(algorithm jose.SignatureAlgorithm) bool {
	if k.algorithm != "" && k.algorithm != string(algorithm) {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return algorithm[:2] == "RS" || algorithm[:2] == "PS"
	case *ecdsa.PublicKey:
		curve := map[jose.SignatureAlgorithm]elliptic.Curve{
			jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521(),
		}[algorithm]
		return curve != nil && public.Curve == curve
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	}
	return false
}

// ring holds the keys that are in force.
type ring struct {
	mu   sync.Mutex
	keys []*key
}

// find gives the keys of an id that are for an algorithm. A token without an id
// says which one it is by there being only one.
func (r *ring) find(id string, algorithm jose.SignatureAlgorithm) []*key {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*key
	for _, k := range r.keys {
		if k.fits(algorithm) && (id == "" || k.id == id) {
			found = append(found, k)
		}
	}
	if id == "" && len(found) != 1 {
		return nil
	}
	return found
}

func (r *ring) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys) == 0
}

// replace puts other keys in force. Those that stay keep their callers; the
// callers of those that go are ended.
func (r *ring) replace(keys []*key) {
	r.mu.Lock()
	former := r.keys
	r.keys = make([]*key, len(keys))
	for i, k := range keys {
		r.keys[i] = k
		if at := slices.IndexFunc(former, func(f *key) bool { return f.print == k.print }); at >= 0 {
			r.keys[i] = former[at]
		}
	}
	now := slices.Clone(r.keys)
	r.mu.Unlock()
	for _, k := range former {
		if !slices.Contains(now, k) {
			k.endings.End()
		}
	}
}

// mention tells of keys that are of no use.
func mention(log *slog.Logger, said []string, of string) {
	if len(said) > 0 {
		log.Warn("some keys of the issuer of JSON Web Tokens are of no use", "from", of, "keys", strings.Join(said, "; "))
	}
}
