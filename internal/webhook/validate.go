package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/secret"
)

var (
	// ErrNotFound says that there is no such webhook.
	ErrNotFound = errors.New("webhook not found")
	// ErrExists says that the id of a new webhook is taken.
	ErrExists = errors.New("webhook already exists")
	// ErrEtagMismatch says that the webhook has changed since the etag was
	// given out.
	ErrEtagMismatch = errors.New("the webhook has been changed by somebody else: read it again")
	// ErrUnreadable says that a stored webhook cannot be read.
	ErrUnreadable = errors.New("stored webhook cannot be read")
	// ErrDisabled says that the webhook sends nothing.
	ErrDisabled = errors.New("the webhook is disabled")
	// ErrNotChosen says that the webhook does not choose an event any more.
	ErrNotChosen = errors.New("the webhook does not choose this event any more")
	// ErrDeadLetterNotFound says that there is no such dead letter.
	ErrDeadLetterNotFound = errors.New("dead letter not found")
)

// normalize brings the settings into the form in which they are stored.
func (w *Webhook) normalize() {
	if w.Payload == "" {
		w.Payload = Envelope
	}
	headers := make(map[string]secret.String, len(w.Headers))
	for name, value := range w.Headers {
		headers[textproto.CanonicalMIMEHeaderKey(name)] = value
	}
	w.Headers = headers
}

// validate fails with [*invalid.Error].
func (w *Webhook) validate() error {
	var wrong invalid.Fields
	reason := checkURL(w.URL)
	wrong.Check(reason == "", "url", "%s", reason)
	for _, t := range w.Types {
		wrong.Check(t.Known(), "types", "there is no type of event %q", t)
	}
	for name, value := range w.Headers {
		reason := checkHeader(name, value)
		wrong.Check(reason == "", "headers", "%s", reason)
	}
	_, err := signingKey(w.Secret)
	wrong.Check(err == nil, "secret", "%v", err)
	slices.SortFunc(wrong, func(a, b invalid.Field) int {
		return strings.Compare(a.Name+a.Description, b.Name+b.Description)
	})
	return wrong.Err("webhook")
}

func checkURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "is required"
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return "is no URL such as https://example.com/hook"
	case u.Scheme != "http" && u.Scheme != "https":
		return "has the scheme " + fmt.Sprintf("%q", u.Scheme) + ": give http or https"
	case u.User != nil:
		return "holds a user or password, which would be shown with it: put them into headers"
	case u.Fragment != "":
		return "has a fragment, which is never sent"
	}
	return ""
}

// ownHeaders are those that the sender sets itself, and those that say how a
// request is framed.
var ownHeaders = []string{
	"Host", "User-Agent", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection",
	"Keep-Alive", "Te", "Trailer", "Upgrade", "Expect", "Accept-Encoding",
}

const (
	maxHeaderName  = 128
	maxHeaderValue = 4096
)

func checkHeader(name string, value secret.String) string {
	const special = "!#$%&'*+-.^_`|~" // RFC 9110 section 5.6.2, beside letters and digits
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(special, r)
	}
	switch {
	case name == "" || len(name) > maxHeaderName || strings.ContainsFunc(name, bad):
		return fmt.Sprintf("%q is no name of a header", name)
	case slices.Contains(ownHeaders, name), strings.HasPrefix(name, "Webhook-"), strings.HasPrefix(name, "Proxy-"):
		return name + " is set by Postern"
	case len(value.Reveal()) > maxHeaderValue:
		return fmt.Sprintf("the value of %s is longer than %d bytes", name, maxHeaderValue)
	case strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "the value of " + name + " has characters that cannot stand in a header"
	}
	return ""
}

const secretPrefix = "whsec_"

// A secret has 24 to 64 bytes, as Standard Webhooks asks for.
const (
	minKey  = 24
	maxKey  = 64
	keySize = 32 // of those made here
)

// signingKey is the key in a secret.
func signingKey(s secret.String) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("is not %q and the base64 of %d to %d bytes", secretPrefix, minKey, maxKey)
	}
	return key, nil
}
