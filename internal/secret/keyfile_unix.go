//go:build unix

package secret

import (
	"io/fs"
	"os"
	"syscall"
)

// othersMay are the permissions of a key file that are too many.
func othersMay(info fs.FileInfo) fs.FileMode {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return tooMany(int(stat.Uid), os.Geteuid())
	}
	return tooMany(0, 0)
}

// tooMany are the permissions that nobody but the owner of a key file may have. Of
// root's file, read by another user, the group is whom root gives it to.
func tooMany(owner, reader int) fs.FileMode {
	if owner == 0 && reader != 0 {
		return 0o037
	}
	return 0o077
}
