package account_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

// Nothing that a person registers as a secret may be found in what the process
// writes: neither in its data, nor in its logs, nor when values are printed.
func TestSecretsLeaveNoTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var logs logtest.Buffer
	logger := slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := natsdtest.Start(t, natsd.Config{DataDir: dir, Logger: logger})
	js := natsdtest.JetStream(t, srv)
	box := newBox(t, filepath.Join(dir, "secret.key"))
	requests, err := requestid.Open(t.Context(), js, 1, box)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := account.Open(t.Context(), js, account.Config{Box: box, Requests: requests, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	p := newProvider(t)
	p.access = "canary-access-issued"

	a := ann()
	a.IMAP.Password = secret.New("canary-password-imap")
	a.SMTP.Username, a.SMTP.Password = "ann", secret.New("canary-password-smtp")
	a, err = registry.Create(t.Context(), a, "request-1")
	if err != nil {
		t.Fatal(err)
	}
	b := oauthAnn(p.URL)
	b.ID = "bob"
	p.refresh = "canary-refresh-given"
	b.IMAP.OAuth2.RefreshToken, b.IMAP.OAuth2.ClientSecret = secret.New(p.refresh), secret.New("canary-client-secret")
	b, err = registry.Create(t.Context(), b, "request-2")
	if err != nil {
		t.Fatal(err)
	}
	connector := newConnector(t, account.ConnectorConfig{Registry: registry})
	dialConfig := connector.DialConfig(b)
	if got, err := dialConfig.Auth.Token(t.Context()); err != nil || got != p.access {
		t.Fatalf("token %q, %v", got, err)
	}
	if _, err := registry.Update(t.Context(), "ann", "", func(a *account.Account) error {
		a.IMAP.Password = secret.New("canary-password-new")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	steps := connector.Verify(t.Context(), &account.Account{ID: "ann", IMAP: account.Endpoint{
		Host: "127.0.0.1", Port: closedPort(t), TLSMode: account.TLS, Username: "ann", Password: secret.New("canary-password-imap"),
	}})
	refreshed, err := registry.Get(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	login, _ := a.SMTPLogin()
	logger.Debug("values", "account", a, "other", refreshed, "config", dialConfig, "endpoint", login, "grant", refreshed.IMAP.OAuth2, "steps", steps)

	connector.Close() // so that both can be printed
	registry.Close()
	printed := make(map[string][]byte)
	values := []any{a, *a, b, refreshed, a.IMAP, &a.IMAP, *refreshed.IMAP.OAuth2, refreshed.IMAP.OAuth2, login, dialConfig, &dialConfig,
		registry, connector, steps, account.Change{ID: "ann", Account: a}}
	for i, value := range values {
		text := fmt.Sprintf("%v\n%+v\n%#v\n%s", value, value, value, value)
		if encoded, err := json.Marshal(value); err == nil {
			text += string(encoded)
		}
		printed[fmt.Sprintf("value %d (%T)", i, value)] = []byte(text)
	}
	natsdtest.Stop(t, srv)
	printed["the logs"] = []byte(logs.String())
	if !strings.Contains(logs.String(), "values") {
		t.Fatal("nothing was logged")
	}
	canaries := []string{"canary-password-imap", "canary-password-smtp", "canary-password-new", "canary-refresh-given",
		"canary-client-secret", "canary-access-issued", a.IdentityKey.Reveal()}
	for where, content := range printed {
		searchCanaries(t, where, content, canaries)
	}
	searchFiles(t, dir, canaries)
}

// searchFiles searches all files, and proves by what must be there that it
// looks at the stored records.
func searchFiles(t *testing.T, dir string, canaries []string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searchCanaries(t, path, content, canaries)
		found = found || bytes.Contains(content, []byte("mail.example.com"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		t.Error("the records were not among the files that were searched")
	}
}

func searchCanaries(t *testing.T, where string, content []byte, canaries []string) {
	t.Helper()
	for _, canary := range canaries {
		for name, form := range forms(canary) {
			if bytes.Contains(content, form) {
				t.Errorf("%s: %q is there, %s", where, canary, name)
			}
		}
	}
}

// forms gives the ways in which a secret could be written.
func forms(canary string) map[string][]byte {
	wide := make([]byte, 0, 2*len(canary))
	for _, unit := range utf16.Encode([]rune(canary)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	all := map[string][]byte{
		"as it is": []byte(canary), "in UTF-16": wide, "in hex": []byte(hex.EncodeToString([]byte(canary))),
		"as numbers": []byte(strings.Trim(fmt.Sprint([]byte(canary)), "[]")),
	}
	// Within a longer text base64 can begin at any of three places; the ends
	// that depend on what is around are left out.
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
		all[fmt.Sprint("in base64, shifted by ", shift)] = []byte(encoded[4 : len(encoded)-4])
	}
	return all
}
