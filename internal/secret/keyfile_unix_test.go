//go:build unix

package secret

import (
	"io/fs"
	"testing"
)

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
