package follow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/follow"
	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/waittest"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// join is a file of two whose halves have to fit each other.
func join(contents [][]byte) (string, error) {
	a, b := string(contents[0]), string(contents[1])
	if a[0] != b[0] {
		return "", errors.New("the halves do not fit")
	}
	return a + "+" + b, nil
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1a")
	write(t, b, "1b")
	files, err := follow.New("--pair", join, a, b)
	if err != nil {
		t.Fatal(err)
	}
	logged := &logtest.Buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var told []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		files.Run(ctx, slog.New(slog.NewTextHandler(logged, nil)), func(v string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, v)
		})
	}()
	defer func() { cancel(); <-done }()

	write(t, a, "2a") // in the middle of a renewal
	waittest.For(t, "the log to say so", func() bool { return strings.Contains(logged.String(), "the halves do not fit") })
	if got := files.Current(); got != "1a+1b" {
		t.Errorf("holds %s while the files are of no use", got)
	}
	// An older file is a change as well.
	write(t, b, "2b")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(b, past, past); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the new pair", func() bool { return files.Current() == "2a+2b" })
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the log to miss a file", func() bool { return strings.Contains(logged.String(), "no such file") })
	write(t, a, "2a")
	waittest.For(t, "all to be well", func() bool { return strings.Contains(logged.String(), "are again as they are in force") })
	write(t, a, "2c")
	waittest.For(t, "the third", func() bool { return files.Current() == "2c+2b" })
	waittest.For(t, "the changes to be told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(told) == "[2a+2b 2c+2b]"
	})
	if n := strings.Count(logged.String(), "the halves do not fit"); n != 1 {
		t.Errorf("the log says %d times that the halves do not fit", n)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fine, empty, large := filepath.Join(dir, "fine"), filepath.Join(dir, "empty"), filepath.Join(dir, "large")
	write(t, fine, "1")
	write(t, empty, "")
	write(t, large, strings.Repeat("x", 5<<20))
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		filepath.Join(dir, "none"): "no such file", dir: "is no file", pipe: "is no file", empty: "is empty", large: "is larger than",
	} {
		if _, err := follow.New("--pair", join, fine, name); err == nil ||
			!strings.HasPrefix(err.Error(), "--pair: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
}
