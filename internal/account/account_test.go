package account_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// env is one data directory with a NATS server and a key, on which any number
// of registries can be opened, as nodes do.
type env struct {
	dir string
	js  jetstream.JetStream
	box *secret.Box
}

func newEnv(t *testing.T) *env {
	t.Helper()
	dir := t.TempDir()
	return &env{dir: dir, js: natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{DataDir: dir})), box: newBox(t, filepath.Join(dir, "secret.key"))}
}

func newBox(t *testing.T, path string) *secret.Box {
	t.Helper()
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func (e *env) open(t *testing.T) *account.Registry {
	t.Helper()
	requests, err := requestid.Open(t.Context(), e.js, 1, e.box)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := account.Open(t.Context(), e.js, account.Config{Box: e.box, Requests: requests})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	return registry
}

// ann is a valid account.
func ann() *account.Account {
	return &account.Account{
		ID: "ann", DisplayName: "Ann", Email: "ann@example.com",
		IMAP:   account.Endpoint{Host: "mail.example.com", Port: 993, TLSMode: account.TLS, Username: "ann", Password: secret.New("hunter2")},
		SMTP:   &account.Endpoint{Host: "mail.example.com", Port: 465, TLSMode: account.TLS},
		Labels: map[string]string{"team": "sales"},
		Watch:  account.WatchPolicy{PollInterval: time.Minute, ExcludedFolders: []string{"Spam"}},
	}
}

func create(t *testing.T, registry *account.Registry, a *account.Account) *account.Account {
	t.Helper()
	created, err := registry.Create(t.Context(), a, "")
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
