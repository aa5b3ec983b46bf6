package natsd

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/postern-mail/postern/internal/secret"
)

// credentials are what a client of the embedded server logs in with.
type credentials struct {
	user     string
	password secret.String
}

func newCredentials() credentials {
	// rand.Text carries at least 128 bits in letters and digits, which need
	// no escaping in a URL.
	return credentials{user: "postern", password: secret.New(rand.Text())}
}

func parseCredentials(text string) (credentials, bool) {
	parsed, err := url.Parse(strings.TrimSpace(text))
	if err != nil || parsed.User == nil {
		return credentials{}, false
	}
	password, _ := parsed.User.Password()
	if parsed.User.Username() == "" || password == "" {
		return credentials{}, false
	}
	return credentials{user: parsed.User.Username(), password: secret.New(password)}, true
}

// hash is the form in which the server gets the password, so that none of its
// structures or dumps holds it. The lowest cost is enough: hashing slows down
// the guessing of weak passwords, and this one is random.
func (c credentials) hash() (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(c.password.Reveal()), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hash the NATS password: %w", err)
	}
	return string(hash), nil
}

func (c credentials) url(addr string) string {
	address := url.URL{Scheme: "nats", User: url.UserPassword(c.user, c.password.Reveal()), Host: addr}
	return address.String()
}
