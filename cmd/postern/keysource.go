package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/acme"
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/token"
	"github.com/postern-mail/postern/internal/webhook"
)

// sealedKinds are all kinds of records that are sealed.
func sealedKinds() []keyring.Kind {
	return slices.Concat(account.SealedKinds(), webhook.SealedKinds(), requestid.SealedKinds(), token.SealedKinds(), acme.SealedKinds())
}

// checkKey finds out whether it is clear where the key set is.
func (c *config) checkKey() error {
	var given []string
	for name, is := range map[string]bool{"--key-file": c.KeyFile != "", "--key-command": c.KeyCommand != "", "POSTERN_KEY": !c.Key.IsZero()} {
		if is {
			given = append(given, name)
		}
	}
	if len(given) > 1 {
		slices.Sort(given)
		return fmt.Errorf("there are several keys, from %s: give one", strings.Join(given, " and "))
	}
	if c.KMSURI == "" {
		return nil
	}
	_, err := openKMS(c.KMSURI)
	return err
}

// keySource is where the key set is that seals credentials.
func (c *config) keySource() (*secret.Source, error) {
	source := c.plainKeySource()
	if c.KMSURI == "" {
		return source, nil
	}
	kms, err := openKMS(c.KMSURI)
	if err != nil {
		return nil, err
	}
	return source.EncryptedBy(kms), nil
}

func (c *config) plainKeySource() *secret.Source {
	switch {
	case !c.Key.IsZero():
		return secret.InEnv(c.Key)
	case c.KeyCommand != "":
		return secret.FromCommand(strings.Fields(c.KeyCommand))
	case c.KeyFile != "":
		return secret.InFile(c.KeyFile)
	}
	return secret.InFile(filepath.Join(c.DataDir, "secret.key"))
}

// kmsTimeout bounds one question to a key management service.
const kmsTimeout = 10 * time.Second

// openKMS finds the key at a URI. Nobody is asked yet.
func openKMS(uri string) (secret.KMS, error) {
	if scheme, _, ok := strings.Cut(uri, "://"); ok && scheme != "hcvault" {
		return secret.KMS{}, fmt.Errorf("--kms-uri: Postern knows hcvault and not %q: let --key-command ask that service, see docs/keys.md", scheme)
	}
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Host == "" || parsed.User != nil {
		return secret.KMS{}, errors.New("--kms-uri: give a URI such as hcvault://vault.example.com:8200/transit/keys/postern")
	}
	// It takes the token, the authorities and the rest from the variables that
	// Vault's own programs take them from.
	settings := api.DefaultConfig()
	if settings.Error != nil {
		return secret.KMS{}, fmt.Errorf("--kms-uri: %w", settings.Error)
	}
	settings.Address = "https://" + parsed.Host
	settings.Timeout = kmsTimeout
	client, err := api.NewClient(settings)
	if err != nil {
		return secret.KMS{}, fmt.Errorf("--kms-uri: %w", err)
	}
	aead, err := hcvault.NewAEAD(parsed.EscapedPath(), client.Logical())
	if err != nil {
		return secret.KMS{}, fmt.Errorf("--kms-uri: %w", err)
	}
	return secret.KMS{URI: uri, AEAD: uncancelled{aead}}, nil
}

// uncancelled is an AEAD that cannot be interrupted; its client's time-out bounds it.
type uncancelled struct{ aead tink.AEAD }

// EncryptWithContext implements [tink.AEADWithContext].
func (u uncancelled) EncryptWithContext(_ context.Context, plain, place []byte) ([]byte, error) {
	return u.aead.Encrypt(plain, place)
}

// DecryptWithContext implements [tink.AEADWithContext].
func (u uncancelled) DecryptWithContext(_ context.Context, sealed, place []byte) ([]byte, error) {
	return u.aead.Decrypt(sealed, place)
}
