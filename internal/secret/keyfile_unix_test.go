//go:build unix

package secret

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe to which nobody writes is refused, and not waited at.
func TestKeyFileIsAPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := OpenFile(path)
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, errIrregular) {
			t.Errorf("a pipe: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for somebody to write")
	}
}

func TestKeyFilePermissions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		owner, reader int
		perm          fs.FileMode
		refused       bool
	}{
		"own":                           {1000, 1000, 0o600, false},
		"own, for a group":              {1000, 1000, 0o640, true},
		"root's own":                    {0, 0, 0o400, false},
		"root's own, for a group":       {0, 0, 0o440, true},
		"root's, for the group of ours": {0, 1000, 0o440, false},
		"root's, writable by a group":   {0, 1000, 0o460, true},
		"root's, for all":               {0, 1000, 0o444, true},
		"another user's, for a group":   {1001, 1000, 0o440, true},
	} {
		if got := c.perm&tooMany(c.owner, c.reader) != 0; got != c.refused {
			t.Errorf("%s: refused is %v", name, got)
		}
	}
}
