package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/smtptest"
)

// clientLetters are in the mailbox of the generated client.
var clientLetters = []string{
	"From: ann@example.com\nSubject: lunch\nMessage-ID: <1@example.com>\n\nAt one?\n",
	"From: bob@example.com\nSubject: Re: lunch\nMessage-ID: <2@example.com>\nReferences: <1@example.com>\n\nYes.\n",
	"From: ann@example.com\nTo: bob@example.com\nSubject: papers\nMessage-ID: <3@example.com>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\nsee below\n--b\nContent-Type: application/pdf; name=a.pdf\n" +
		"Content-Disposition: attachment; filename=a.pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--b--\n",
}

// A client in TypeScript, generated from the document that a running gateway
// serves, has the types of all operations and calls each of them. Which there
// are, the document says: one that is not called fails the test.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Quota("100M"))
	user, password := server.User(t)
	for _, letter := range clientLetters {
		server.Deliver(t, user, "INBOX", []byte(strings.ReplaceAll(letter, "\n", "\r\n")))
	}
	outgoing := smtptest.Start(t, smtptest.Config{Rcpt: func(to string) error {
		if to == "nobody@example.com" {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}
		return nil
	}})
	p := serveIn(t, t.TempDir(), toDovecot)
	dir := clientDir(t, p.base+"/openapi.json")
	runNode(t, dir, nil, "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "--output", "src/schema.d.ts")
	runNode(t, dir, nil, "node_modules/typescript/bin/tsc", "--project", ".")
	said := runNode(t, dir, []string{
		"POSTERN_URL=" + p.base, "POSTERN_TOKEN=" + p.token,
		"IMAP_HOST=" + server.Host(), "IMAP_PORT=" + strconv.Itoa(server.Port()), "IMAP_USER=" + user, "IMAP_PASSWORD=" + password,
		"SMTP_HOST=" + outgoing.Host, "SMTP_PORT=" + strconv.Itoa(outgoing.Port),
		"SMTP_USER=" + smtptest.Username, "SMTP_PASSWORD=" + smtptest.Password,
	}, "dist/main.js")
	if !strings.Contains(said, "called ") {
		t.Errorf("the client says %q", said)
	}
}

// clientDir makes a copy of the client's source with the document beside it.
func clientDir(t *testing.T, document string) string {
	t.Helper()
	source, err := filepath.Abs("testdata/client")
	if err != nil {
		t.Fatal(err)
	}
	installPackages(t, source)
	dir := t.TempDir()
	for _, name := range []string{"package.json", "tsconfig.json", "src/harness.ts", "src/main.ts"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(source, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(document)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "openapi.json"), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// installPackages installs the packages that the lock file pins, where make test
// has not done so.
func installPackages(t *testing.T, source string) {
	t.Helper()
	installed, err := os.Stat(filepath.Join(source, "node_modules", ".package-lock.json"))
	locked, lockErr := os.Stat(filepath.Join(source, "package-lock.json"))
	if lockErr != nil {
		t.Fatal(lockErr)
	}
	if err == nil && !installed.ModTime().Before(locked.ModTime()) {
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if out, err := exec.Command("../../.ci/install-client").CombinedOutput(); err != nil {
		t.Fatalf("install the client's packages: %v: %s", err, out)
	}
}

// runNode runs a script to its end and gives what it says.
func runNode(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("node %s: %v\n%s", args[0], err, out.String())
	}
	return out.String()
}
