package webhook

import (
	"github.com/postern-mail/postern/internal/keyring"
	"github.com/postern-mail/postern/internal/secret"
)

// SealedKinds are the records of webhooks, which have sealed fields.
func SealedKinds() []keyring.Kind {
	return []keyring.Kind{{Name: "webhooks", Bucket: bucket, Prefix: webhookPrefix, Keys: keyring.InJSON[record], Reseal: reseal}}
}

// reseal seals the secrets of a webhook's record anew. The settings stay as they are,
// and with them the etag, so nobody takes it for a change.
func reseal(box *secret.Box, id string, value []byte) ([]byte, error) {
	current, err := decode(box, id, value, 0)
	if err != nil {
		return nil, err
	}
	return encode(box, current.Webhook, current.revision, current.request)
}
