package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/postern-mail/postern/internal/secret"
)

// maxSecretFile bounds what is read of a file that should hold one line.
const maxSecretFile = 8 << 10

// readSecrets takes what neither flags nor the configuration file may hold from
// the environment, or from files of its own: orchestrators and systemd hand
// secrets out as files, which are not seen by `docker inspect` nor inherited.
func (c *config) readSecrets() error {
	c.AdminToken = secret.New(os.Getenv("POSTERN_ADMIN_TOKEN"))
	c.Key = secret.New(os.Getenv("POSTERN_KEY"))
	for _, one := range []struct {
		flag, path, besides string
		value               *secret.String
	}{
		{"admin-token-file", c.AdminTokenFile, "POSTERN_ADMIN_TOKEN", &c.AdminToken},
		{"nats-url-file", c.NATSURLFile, "--nats-url", &c.NATSURL},
	} {
		if one.path == "" {
			continue
		}
		if !one.value.IsZero() {
			return fmt.Errorf("there are both --%s and %s: give one", one.flag, one.besides)
		}
		value, err := readSecretFile(one.path)
		if err != nil {
			return fmt.Errorf("--%s: %w", one.flag, err)
		}
		*one.value = value
	}
	return nil
}

// readSecretFile reads a file of one line. Its errors do not quote it.
func readSecretFile(path string) (secret.String, error) {
	file, err := os.Open(path)
	if err != nil {
		return secret.String{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return secret.String{}, err
	}
	value := strings.TrimSpace(string(content))
	switch {
	case value == "":
		return secret.String{}, errors.New(path + " is empty")
	case len(content) > maxSecretFile || strings.ContainsAny(value, "\r\n"):
		return secret.String{}, errors.New(path + " holds more than one line")
	}
	return secret.New(value), nil
}
