package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/postern-mail/postern/internal/secret"
)

// vault answers like the transit engine of HashiCorp Vault and OpenBao, by
// https://developer.hashicorp.com/vault/api-docs/secret/transit: it encrypts and
// decrypts with one key, for who has the token.
type vault struct {
	*httptest.Server
	env   []string // for a process that uses it
	asked atomic.Int64
}

const vaultToken = "canary-vault-token"

func newVault(t *testing.T) *vault {
	t.Helper()
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{}
	mux := http.NewServeMux()
	handle := func(act string, run func(map[string]string) (name, value string, wrong string)) {
		mux.HandleFunc("PUT /v1/transit/"+act+"/{key}", func(w http.ResponseWriter, r *http.Request) {
			v.asked.Add(1)
			var in map[string]string
			code, complaint := http.StatusOK, ""
			var out map[string]any
			switch {
			case r.Header.Get("X-Vault-Token") != vaultToken:
				code, complaint = http.StatusForbidden, "permission denied"
			case r.PathValue("key") != "postern":
				code, complaint = http.StatusBadRequest, "encryption key not found"
			case json.NewDecoder(r.Body).Decode(&in) != nil:
				code, complaint = http.StatusBadRequest, "failed to parse JSON input"
			default:
				name, value, wrong := run(in)
				if wrong != "" {
					code, complaint = http.StatusBadRequest, wrong
				}
				out = map[string]any{"data": map[string]any{name: value}}
			}
			if complaint != "" {
				out = map[string]any{"errors": []string{complaint}}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	handle("encrypt", func(in map[string]string) (string, string, string) {
		plain, err := base64.StdEncoding.DecodeString(in["plaintext"])
		if err != nil {
			return "", "", "failed to base64-decode plaintext"
		}
		nonce := make([]byte, aead.NonceSize())
		rand.Read(nonce)
		return "ciphertext", "vault:v1:" + base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, nil)), ""
	})
	handle("decrypt", func(in map[string]string) (string, string, string) {
		text, ok := strings.CutPrefix(in["ciphertext"], "vault:v1:")
		sealed, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(sealed) < aead.NonceSize() {
			return "", "", "invalid ciphertext: no prefix"
		}
		plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
		if err != nil {
			return "", "", "cipher: message authentication failed"
		}
		return "plaintext", base64.StdEncoding.EncodeToString(plain), ""
	})
	v.Server = httptest.NewTLSServer(mux)
	t.Cleanup(v.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	v.env = []string{"VAULT_CACERT=" + authority, "VAULT_TOKEN=" + vaultToken, "VAULT_MAX_RETRIES=0"}
	return v
}

func (v *vault) uri(key string) string {
	return "--kms-uri=hcvault://" + v.Listener.Addr().String() + "/transit/keys/" + key
}

// With a KMS the key file holds no key in clear, from the first start on or from
// `postern keys encrypt` on, and opens with the KMS's key only.
func TestKMS(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	dir := filepath.Join(t.TempDir(), "data")
	inDir := "--data-dir=" + dir
	path := filepath.Join(dir, "secret.key")
	serve := append([]string{"serve", inDir}, loopback...)

	plain := serveIn(t, dir)
	plain.post(t, "/v1/accounts?accountId=ann", `{"email":"a@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"TLS","username":"a","password":"p"}}`)
	plain.stop(t)
	_, former, err := secret.InFile(path).Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	execute(t, v.env, append(serve, v.uri("postern"))...).failed(t, "postern keys encrypt")
	if o := execute(t, v.env, "keys", "encrypt", inDir, v.uri("postern")); o.code != exitOK {
		t.Fatalf("encrypt: %s", o.stderr)
	}
	if _, _, err := secret.InFile(path).Keys(t.Context()); err == nil || !strings.Contains(err.Error(), "--kms-uri") {
		t.Errorf("without the KMS: error %v", err)
	}
	execute(t, v.env, serve...).failed(t, "name its key with --kms-uri")

	p := launch(t, v.env, append(serve, v.uri("postern"))...)
	p.token = plain.token
	p.get(t, "/v1/accounts/ann")
	if o := execute(t, v.env, "keys", "rotate", inDir, v.uri("postern")); o.code != exitOK {
		t.Fatalf("rotate: %s", o.stderr)
	}
	await(t, "the rotated key to seal", func() bool {
		rows := listKeys(t, v.env, inDir, v.uri("postern"))
		return len(rows) == 2 && rows[former].Records["accounts"] == 0
	})
	p.stop(t)

	cases := map[string]struct {
		env  []string
		key  string
		says string
	}{
		"another key":   {v.env, "other", "encryption key not found"},
		"no token":      {v.env[:1], "postern", "permission denied"},
		"another token": {append(v.env[:1:1], "VAULT_TOKEN=other"), "postern", "permission denied"},
		"not trusted":   {v.env[1:], "postern", "certificate"},
	}
	for name, c := range cases { //nolint:paralleltest // they take turns with the data directory
		t.Run(name, func(t *testing.T) {
			o := execute(t, c.env, append(serve, v.uri(c.key))...)
			if o.code != exitFailed || !strings.Contains(o.stderr, c.says) || !strings.Contains(o.stderr, path) || strings.Contains(o.stderr, vaultToken) {
				t.Errorf("code %d, want one that says %q: %s", o.code, c.says, o.stderr)
			}
		})
	}
	other := newVault(t) // whose key of the same name is another
	o := execute(t, other.env, append(serve, other.uri("postern"))...)
	o.failed(t, "message authentication failed")
	if !strings.Contains(o.stderr, "see that it is the key") {
		t.Errorf("it does not say what to do: %s", o.stderr)
	}

	// A first start makes an encrypted file.
	fresh := filepath.Join(t.TempDir(), "data")
	launch(t, v.env, append(append([]string{"serve", "--data-dir=" + fresh}, loopback...), v.uri("postern"))...)
	content, err := os.ReadFile(filepath.Join(fresh, "secret.key"))
	if err != nil || !strings.Contains(string(content), "encryptedKeyset") {
		t.Errorf("the new key file holds %s (%v)", content, err)
	}
}

func TestKMSUnknown(t *testing.T) {
	t.Parallel()
	for uri, says := range map[string]string{
		"aws-kms://arn:aws:kms:eu-west-1:1:key/2": "--key-command", "hcvault:///transit/keys/x": "give a URI", "hcvault://h:1/x": "malformed",
	} {
		if o := execute(t, nil, "serve", "--kms-uri="+uri); o.code != exitUsage || !strings.Contains(o.stderr, says) {
			t.Errorf("%s: code %d, %s", uri, o.code, o.stderr)
		}
	}
}
