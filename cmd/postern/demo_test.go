package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/logtest"
)

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	got := execute(t, []string{"TMPDIR=" + temp}, "demo", "--once")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("code %d, stderr %q", got.code, got.stderr)
	}
	if strings.Contains(got.stdout, "\x1b") {
		t.Error("there is colour in what is no terminal")
	}
	for _, want := range []string{
		`POST /v1/accounts\?accountId=demo`,
		`"path": \["INBOX"\], "total": 14, "unread": \d+`,
		`"path": \["Projects", "Lighthouse"\]`,
		`"subject": "Two pictures from the coast"`,
		`"nextPageToken": ".+"`,
		`See new mail, [0-9.]+ ms after it was delivered`,
		`event: message.created`,
		`"origin": "NEW"`,
		`"subject": "The lamp is lit 💡"`,
	} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("the demo does not show %s", want)
		}
	}
	for name, block := range map[string]string{"folders": got.stdout, "messages": got.stdout} {
		// What is shown is JSON, to be pasted somewhere.
		start := strings.Index(block, "   {\n     \""+name+"\"")
		end := strings.Index(block[max(start, 0):], "\n   }\n")
		if start < 0 || end < 0 || !json.Valid([]byte(block[start:start+end+5])) {
			t.Errorf("the %s are not shown as JSON", name)
		}
	}
	if t.Failed() {
		t.Log(got.stdout)
	}
	checkEmpty(t, temp)
}

// checkEmpty fails the test if the demo left files behind.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDemoSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	t.Run("no temporary directory", func(t *testing.T) {
		t.Parallel()
		got := execute(t, []string{"TMPDIR=" + filepath.Join(t.TempDir(), "none")}, "demo", "--once")
		got.failed(t, "the demo's data directory", "no such file")
	})
	t.Run("nobody can see it", func(t *testing.T) {
		t.Parallel()
		// /dev/full answers each write with ENOSPC.
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		temp := t.TempDir()
		cmd := program(t.Context(), []string{"TMPDIR=" + temp}, "demo", "--once")
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("ended with %v and %q", err, stderr.String())
		}
		checkEmpty(t, temp)
	})
	t.Run("the reader has gone", func(t *testing.T) {
		t.Parallel()
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		read.Close()
		temp := t.TempDir()
		cmd := program(t.Context(), []string{"TMPDIR=" + temp}, "demo", "--once")
		cmd.Stdout = write
		err = cmd.Run()
		write.Close()
		if code := cmd.ProcessState.ExitCode(); code != exitFailed {
			t.Errorf("exit code %d (%v), want %d", code, err, exitFailed)
		}
		checkEmpty(t, temp)
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// The tour is cut short whatever the step it is at.
		if err := runDemo(ctx, newScreen(&bytes.Buffer{}, os.Getenv), &bytes.Buffer{}, true); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	})
}

func TestDemoStaysAndEndsOnInterrupt(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	cmd := program(context.Background(), []string{"TMPDIR=" + temp}, "demo")
	var stdout, stderr logtest.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
	})
	await(t, "the suggestions", func() bool { return strings.Contains(stdout.String(), "Ctrl-C ends the demo.") })

	// The first suggestion works as it is printed.
	line := regexp.MustCompile(`curl -H "Authorization: Bearer (\S+)" (http://[^/]+)(/v1/accounts/demo/messages/\w+)\n`).
		FindStringSubmatch(stdout.String())
	if line == nil {
		t.Fatalf("no curl line:\n%s", stdout.String())
	}
	p.token, p.base = line[1], line[2]
	answer, err := p.client().call(t.Context(), "GET", line[3], nil)
	if err != nil || !bytes.Contains(answer, []byte("You can see it from the harbour")) {
		t.Errorf("the message is %s (%v)", answer, err)
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	p.awaitExit(t)
	if code := cmd.ProcessState.ExitCode(); code != exitOK || stderr.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
	checkEmpty(t, temp)
}
