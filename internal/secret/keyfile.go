package secret

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// maxKeySetSize bounds what is read as a key set. A set of one key takes about
// 300 bytes; this leaves room for a hundred rotations.
const maxKeySetSize = 64 << 10

// EnvSource is what [OpenEnv] names as the source of its keys.
const EnvSource = "the environment (POSTERN_KEY)"

// OpenFile reads the key set from the file at path, and makes the file with a
// new key when there is none. The file is in Tink's JSON form, so tinkey can
// rotate it. A file that others than its owner may read or write is refused, but
// one of root's may be readable by a group: that is how Kubernetes, and systemd's
// access lists, hand a secret to a process.
func OpenFile(path string) (*Box, error) {
	content, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("create key file %s: %w", path, err)
		}
		content, err = readKeyFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return parse(content, path)
}

// OpenEnv takes the key set from an environment variable's value: the base64
// form of a key file, as `base64 -w0 secret.key` prints it.
func OpenEnv(value string) (*Box, error) {
	content, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		// The decoder's error is left out: it may quote what it was given.
		return nil, fmt.Errorf("key set from %s: not base64: give the output of `base64 -w0` for a key file", EnvSource)
	}
	return parse(content, EnvSource)
}

func parse(content []byte, source string) (*Box, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil {
		// Parser errors may quote the content, which is the key.
		return nil, fmt.Errorf("key set from %s is damaged or not a Tink JSON key set: restore it from a copy", source)
	}
	return newBox(handle, source)
}

func readKeyFile(path string) ([]byte, error) {
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
		return nil, errors.New("not a regular file")
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

// createKeyFile writes a new key set to path, whole or not at all, and never
// over an existing file: of two processes that start at once one makes the
// file, and both then read that one.
func createKeyFile(path string) error {
	// XChaCha20-Poly1305, because its 192-bit random nonces put no bound on
	// the number of values sealed under one key.
	handle, err := keyset.NewHandle(aead.XChaCha20Poly1305KeyTemplate())
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	err = errors.Join(
		insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(temp)),
		temp.Sync(),
		temp.Close(),
	)
	if err != nil {
		return err
	}
	// Link, unlike Rename, fails when path is already there.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
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
