package dovecottest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// tokenKey signs the tokens that Dovecot 2.4 takes.
const tokenKey = "only good for tests on loopback, never for more"

// writeTokenKey puts the key where Dovecot looks for it: the name says which
// party, algorithm and key a token without such claims is taken to mean.
func writeTokenKey(dir string) error {
	keys := filepath.Join(dir, "keys", "default", "HS256")
	if err := os.MkdirAll(keys, 0o755); err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString([]byte(tokenKey))
	return os.WriteFile(filepath.Join(keys, "default"), []byte(key), 0o644)
}

// Token gives an access token with which the user logs in by OAUTHBEARER or
// XOAUTH2. Dovecot 2.3 takes the password for one; 2.4 insists on a signed token
// (RFC 7519).
func (s *Server) Token(username string) string {
	if s.install.dialect == "2.3" {
		return s.config.Password
	}
	now := time.Now()
	signed := encodeJSON(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + encodeJSON(map[string]any{
		"sub": username,
		"iat": now.Add(-time.Minute).Unix(),
		"exp": now.Add(24 * time.Hour).Unix(),
	})
	mac := hmac.New(sha256.New, []byte(tokenKey))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encodeJSON(claims map[string]any) string {
	b, _ := json.Marshal(claims) // strings and numbers can always be written
	return base64.RawURLEncoding.EncodeToString(b)
}
