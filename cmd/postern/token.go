package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-mail/postern/internal/secret"
)

// tokenFile is where the generated admin token is, in the data directory.
const tokenFile = "admin-token"

// safeToken is the length below which a token that somebody chose may be
// guessed: 16 random characters of a base64 alphabet are 96 bits.
const safeToken = 16

// adminToken is the token that may do everything: the one given, or else that
// of an earlier start, or else a new one. The source says where it is to be
// found, for people.
func adminToken(given secret.String, dataDir string) (token secret.String, source string, err error) {
	if !given.IsZero() {
		return given, "POSTERN_ADMIN_TOKEN", nil
	}
	path, err := filepath.Abs(filepath.Join(dataDir, tokenFile))
	if err != nil {
		return secret.String{}, "", fmt.Errorf("admin token: %w", err)
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createToken(path); err == nil {
			content, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return secret.String{}, "", fmt.Errorf("admin token: %w", err)
	}
	token = secret.New(strings.TrimSpace(string(content)))
	if token.IsZero() {
		return secret.String{}, "", fmt.Errorf("%s is empty: remove it to have a new token made", path)
	}
	return token, path, nil
}

// createToken writes a new token to path, whole or not at all, and never over
// an existing file: of two processes that start at once one makes the file, and
// both then read that one.
func createToken(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// CreateTemp gives the file mode 0600.
	temp, err := os.CreateTemp(dir, "."+tokenFile+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	// rand.Text carries at least 128 bits in letters and digits.
	_, err = fmt.Fprintln(temp, rand.Text())
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// Link, unlike Rename, fails when path is already there.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
