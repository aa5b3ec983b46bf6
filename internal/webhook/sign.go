package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/secret"
)

// newSecret makes a secret.
func newSecret() secret.String {
	key := make([]byte, keySize)
	rand.Read(key) // never fails, see its documentation
	return secret.New(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

// Headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// sign sets the headers of Standard Webhooks: the id, which is the event's and
// the same at each attempt, the time of the attempt, and a signature with each
// of the secrets over both and the body.
func sign(header http.Header, id string, at time.Time, body []byte, secrets []secret.String) error {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		key, err := signingKey(s)
		if err != nil {
			return err
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	header.Set(headerID, id)
	header.Set(headerTimestamp, timestamp)
	header.Set(headerSignature, strings.Join(signatures, " "))
	return nil
}
