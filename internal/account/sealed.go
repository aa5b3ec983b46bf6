package account

import (
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/secret"
)

// SealedKinds are the records of accounts, which have sealed fields.
func SealedKinds() []keyring.Kind {
	return []keyring.Kind{{Name: "accounts", Bucket: bucket, Prefix: accountPrefix, Keys: keyring.InJSON[record], Reseal: reseal}}
}

// reseal seals the secrets of an account's record anew. The settings stay as they
// are, and with them the etag, so nobody takes it for a change.
func reseal(box *secret.Box, id string, value []byte) ([]byte, error) {
	current, err := decode(box, id, value)
	if err != nil {
		return nil, err
	}
	return encode(box, current.account, current.revision, current.request)
}
