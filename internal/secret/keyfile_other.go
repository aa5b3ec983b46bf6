//go:build !unix

package secret

import "io/fs"

// othersMay are the permissions that nobody but the owner of a key file may have.
func othersMay(fs.FileInfo) fs.FileMode { return 0o077 }
