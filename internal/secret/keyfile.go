package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// InFile is a key set in a file. A file that others than its owner may read or write
// is refused, but one of root's may be readable by a group: that is how Kubernetes,
// and systemd's access lists, hand a secret to a process.
func InFile(path string) *Source {
	return &Source{
		name: path, path: path,
		read: func(context.Context) ([]byte, error) {
			content, err := readKeyFile(path)
			if err != nil {
				return nil, fmt.Errorf("key file %s: %w", path, err)
			}
			return content, nil
		},
		stamp: func() string {
			info, err := os.Stat(path)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode())
		},
	}
}

// OpenFile reads the key set from the file at path, which is made with a new key
// when there is none.
func OpenFile(path string) (*Box, error) { return InFile(path).Open(context.Background()) }

var errIrregular = errors.New("not a regular file")

func readKeyFile(path string) ([]byte, error) {
	// Before it is opened: that waits where it is a pipe.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// The open file is asked, not the path, which may change in between.
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	if perm := info.Mode().Perm(); perm&othersMay(info) != 0 {
		return nil, fmt.Errorf("its mode is %04o, so others than its owner have access: run `chmod 600 %s`, "+
			"and consider the key known to whoever had access", perm, path)
	}
	if info.Size() > maxKeySetSize {
		return nil, fmt.Errorf("%d bytes are too many for a key set", info.Size())
	}
	return io.ReadAll(io.LimitReader(file, maxKeySetSize))
}

// create makes the file with a new key set unless it is there. It writes it whole or
// not at all, and never over an existing file: of two processes that start at once
// one makes the file, and both then read that one.
func (s *Source) create(ctx context.Context) error {
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // or cannot be read, which reading tells
	}
	handle, err := newHandle()
	if err != nil {
		return err
	}
	content, err := s.format(ctx, handle)
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create key file %s: %w", s.path, err)
	}
	temp, err := writeTemp(dir, content)
	if err != nil {
		return fmt.Errorf("create key file %s: %w", s.path, err)
	}
	defer os.Remove(temp)
	// Link, unlike Rename, fails when path is already there.
	if err := os.Link(temp, s.path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create key file %s: %w", s.path, err)
	}
	return syncDir(dir)
}

// replace puts a changed key set into the file, whole or not at all. Mode and owner
// stay, so that the process which reads it still can, whoever ran the command. Of a
// symbolic link the target is replaced.
func (s *Source) replace(content []byte) error {
	fail := func(err error) error { return fmt.Errorf("write key file %s: %w", s.path, err) }
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return fail(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	temp, err := writeTemp(filepath.Dir(path), content)
	if err != nil {
		return fail(err)
	}
	defer os.Remove(temp)
	if err := keepOwner(temp, before); err != nil {
		return fail(err)
	}
	if err := os.Chmod(temp, before.Mode().Perm()); err != nil {
		return fail(err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fail(err)
	}
	return syncDir(filepath.Dir(path))
}

// lockRetry is how often a lock that another command holds is asked for.
const lockRetry = 20 * time.Millisecond

// lock lets one command at a time change the file.
func (s *Source) lock(ctx context.Context) (unlock func(), err error) {
	lock := flock.New(s.path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("lock key file %s: %w", s.path, err)
	}
	// An error would mean that the lock is gone already.
	return func() { _ = lock.Close() }, nil
}

// writeTemp writes content to a file of its own, synced.
func writeTemp(dir string, content []byte) (path string, err error) {
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return "", err
	}
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return temp.Name(), nil
}

// syncDir makes a new directory entry survive a power cut. Losing the key
// after an account was acknowledged would lose the account's credentials.
func syncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
