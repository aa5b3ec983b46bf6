package natsd

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// keys are the logins of the embedded server, which outlive a single one.
type keys struct {
	dir    string
	owner  credentials       // Postern's own
	copier credentials       // who keeps the readers' copy, in this process
	hashes map[string]string // of these two

	mu      sync.Mutex
	read    time.Time // the time of the file that readers are from
	readers map[string]Credential
}

// openKeys reads the readers' credentials, which have to be readable at a start.
func openKeys(dir string, owner credentials) (*keys, error) {
	k := &keys{dir: dir, owner: owner, copier: newCredentials(), hashes: map[string]string{}}
	k.copier.user = "postern-copier"
	for _, login := range []credentials{k.owner, k.copier} {
		hash, err := login.hash()
		if err != nil {
			return nil, err
		}
		k.hashes[login.user] = hash
	}
	_, err := k.reload()
	return k, err
}

// reload reads the readers' credentials again if their file has changed, and
// names those that are not good any more. What cannot be read changes nothing.
func (k *keys) reload() (ended []string, err error) {
	changed := time.Time{}
	info, err := os.Stat(credentialsPath(k.dir))
	if err == nil {
		changed = info.ModTime()
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("credentials of readers: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if changed.Equal(k.read) {
		return nil, nil
	}
	list, err := readCredentials(k.dir)
	if err != nil {
		return nil, err
	}
	readers := make(map[string]Credential, len(list))
	for _, credential := range list {
		readers[credential.Name] = credential
	}
	for name, former := range k.readers {
		if readers[name].Hash != former.Hash {
			ended = append(ended, name)
		}
	}
	k.readers, k.read = readers, changed
	return ended, nil
}

// any reports whether there are readers.
func (k *keys) any() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.readers) > 0
}

// role is what a client may do.
type role int

const (
	roleNone role = iota
	roleOwner
	roleCopier
	roleReader
)

// admit finds out who a client is, and lets it in by calling enter, all before
// the credentials change again.
func (k *keys) admit(user, password string, enter func(role)) bool {
	var who role
	var hash string
	k.mu.Lock()
	defer k.mu.Unlock()
	switch user {
	case k.owner.user:
		who, hash = roleOwner, k.hashes[user]
	case k.copier.user:
		who, hash = roleCopier, k.hashes[user]
	default:
		who, hash = roleReader, k.readers[user].Hash
	}
	if hash == "" || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return false
	}
	enter(who)
	return true
}
