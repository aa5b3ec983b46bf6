package natsd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/postern-mail/postern/internal/secret"
)

// credentialsFile holds the readers' names and the hashes of their passwords. A
// running server looks at it several times a second, so whoever may write into
// the data directory can change it at any time.
const credentialsFile = "nats-credentials.json"

func credentialsPath(dir string) string { return filepath.Join(dir, credentialsFile) }

// Credential lets a consumer read the events and do nothing else.
type Credential struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`
	Created time.Time `json:"created"`
}

// UnknownCredentialError says that there are no credentials of that name.
type UnknownCredentialError struct{ Name string }

// Error implements error.
func (e *UnknownCredentialError) Error() string {
	return fmt.Sprintf("there are no credentials named %q", e.Name)
}

// maxCredentials bounds how many there may be.
const maxCredentials = 256

var credentialName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Credentials lists the readers' credentials of a data directory, by name.
func Credentials(dir string) ([]Credential, error) { return readCredentials(dir) }

// CreateCredential makes credentials for a reader and gives the URL to connect
// with, which cannot be had again. Those that there were under the name end. It
// works beside a running server, which lets the reader in within a second. The
// host of the URL is that of the server's last start, or else addr.
func CreateCredential(dir, name, addr string) (secret.String, error) {
	if !credentialName.MatchString(name) || strings.HasPrefix(name, "postern") {
		return secret.String{}, fmt.Errorf("the name %q does not do: give letters from a to z, digits and hyphens, 63 at most, "+
			"not beginning with postern", name)
	}
	login := newCredentials()
	login.user = name
	hash, err := login.hash()
	if err != nil {
		return secret.String{}, err
	}
	err = changeCredentials(dir, func(list []Credential) ([]Credential, error) {
		list = slices.DeleteFunc(list, func(c Credential) bool { return c.Name == name })
		if len(list) >= maxCredentials {
			return nil, fmt.Errorf("there are %d credentials already: revoke some first", len(list))
		}
		return append(list, Credential{Name: name, Hash: hash, Created: time.Now().UTC().Truncate(time.Second)}), nil
	})
	if err != nil {
		return secret.String{}, err
	}
	return secret.New(login.url(lastAddr(dir, addr))), nil
}

// RevokeCredential ends credentials. A running server closes their connections
// within a second.
func RevokeCredential(dir, name string) error {
	return changeCredentials(dir, func(list []Credential) ([]Credential, error) {
		left := slices.DeleteFunc(slices.Clone(list), func(c Credential) bool { return c.Name == name })
		if len(left) == len(list) {
			return nil, &UnknownCredentialError{Name: name}
		}
		return left, nil
	})
}

func readCredentials(dir string) ([]Credential, error) {
	path := credentialsPath(dir)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("credentials of readers: %w", err)
	}
	var list []Credential
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("credentials of readers: %s is damaged: %w", path, err)
	}
	slices.SortFunc(list, func(a, b Credential) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// changeCredentials makes one change at a time, whichever process makes it.
func changeCredentials(dir string, change func([]Credential) ([]Credential, error)) (err error) {
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("data directory %s is no directory", dir)
	}
	lock := flock.New(credentialsPath(dir)+".lock", flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("credentials of readers: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	list, err := readCredentials(dir)
	if err != nil {
		return err
	}
	if list, err = change(list); err != nil {
		return err
	}
	content, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("credentials of readers: %w", err)
	}
	if err := writeWhole(credentialsPath(dir), append(content, '\n')); err != nil {
		return fmt.Errorf("write the credentials of readers: %w", err)
	}
	return nil
}

// lastAddr is where the server listened when it was started last.
func lastAddr(dir, otherwise string) string {
	content, err := os.ReadFile(filepath.Join(dir, urlFile))
	if err != nil {
		return otherwise
	}
	_, addr, found := strings.Cut(strings.TrimSpace(string(content)), "@")
	if !found {
		return otherwise
	}
	return addr
}
