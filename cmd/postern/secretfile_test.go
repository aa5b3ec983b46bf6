package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := write("token", "a-token-from-a-file\n")
	server := t.TempDir()
	natsdtest.Start(t, natsd.Config{DataDir: server})
	urlOf := filepath.Join(server, "nats-url")
	args := []string{"serve", "--data-dir=" + t.TempDir(), "--http=127.0.0.1:0", "--grpc=127.0.0.1:0",
		"--admin-token-file=" + token, "--nats-url-file=" + urlOf}
	p := launch(t, nil, args...)
	p.token = "a-token-from-a-file"
	if _, err := p.client().call(t.Context(), "GET", "/v1/accounts", nil); err != nil {
		t.Error(err)
	}
	if log := p.stderr.String(); !strings.Contains(log, "token_in="+token) || strings.Contains(log, p.token) {
		t.Error("the log names the file and not the token")
	}

	for name, c := range map[string]struct {
		env  []string
		path string
		says string
	}{
		"both":  {[]string{"POSTERN_ADMIN_TOKEN=x"}, token, "there are both --admin-token-file and POSTERN_ADMIN_TOKEN"},
		"none":  {nil, filepath.Join(dir, "none"), "no such file"},
		"empty": {nil, write("empty", "\n"), "is empty"},
		"more":  {nil, write("more", "first-canary\nsecond\n"), "more than one line"},
		"long":  {nil, write("long", strings.Repeat("x", maxSecretFile+1)), "more than one line"},
	} {
		run := execute(t, c.env, "serve", "--data-dir="+t.TempDir(), "--admin-token-file="+c.path)
		if run.code != exitUsage || !strings.Contains(run.stderr, c.says) || strings.Contains(run.stderr, "canary") {
			t.Errorf("%s: exit code %d, %q", name, run.code, run.stderr)
		}
	}
}
