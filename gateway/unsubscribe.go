package gateway

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/submit"
)

// The headers of RFC 2369 section 3.2 and RFC 8058 section 3.1, and the one value that
// the latter may have.
const (
	headerUnsubscribe     = "List-Unsubscribe"
	headerUnsubscribePost = "List-Unsubscribe-Post"
	oneClick              = "One-Click"
)

// unsubscriber makes and reads the addresses at which those who get mail unsubscribe
// from it.
type unsubscriber struct {
	box sealer
	// former, where it is given, opens the links that were made when there was no key
	// for links alone.
	former sealer
	// publicURL is where the world reaches the gateway, empty for nowhere.
	publicURL string
}

func newUnsubscriber(cfg Config) unsubscriber {
	if cfg.Links == nil {
		return unsubscriber{box: cfg.Box, publicURL: cfg.PublicURL}
	}
	return unsubscriber{box: cfg.Links, former: cfg.Box, publicURL: cfg.PublicURL}
}

// unsubscribePath is where one unsubscribes, followed by a token.
const unsubscribePath = "/unsubscribe/"

var unsubscribePlace = []byte("unsubscribe")

// unsubscription is what a token says: whose mail is not to go to whom.
type unsubscription struct {
	Account string `json:"a"`
	Address string `json:"r"`
}

var errNoToken = errors.New("the token is not one that was given out")

// link is the address at which the owner of an address unsubscribes from the mail of
// an account. It does not tell either of the two.
func (u unsubscriber) link(account, address string) (string, error) {
	plain, err := json.Marshal(unsubscription{Account: account, Address: address})
	if err != nil {
		return "", err
	}
	sealed, err := u.box.Seal(plain, unsubscribePlace)
	if err != nil {
		return "", fmt.Errorf("seal a token: %w", err)
	}
	return strings.TrimSuffix(u.publicURL, "/") + unsubscribePath + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// maxToken bounds a token: an address in it has 320 bytes at most.
const maxToken = 1000

// open reads a token. It fails with errNoToken.
func (u unsubscriber) open(token string) (unsubscription, error) {
	var who unsubscription
	if len(token) > maxToken {
		return who, errNoToken
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return who, errNoToken
	}
	plain, err := u.box.Open(sealed, unsubscribePlace)
	if err != nil && u.former != nil {
		plain, err = u.former.Open(sealed, unsubscribePlace)
	}
	if err != nil || json.Unmarshal(plain, &who) != nil {
		return who, errNoToken
	}
	return who, nil
}

// unsubscribeURL is what may stand between the angle brackets of List-Unsubscribe, on
// a line of its own. RFC 8058 section 3.1 wants HTTPS.
var unsubscribeURL = regexp.MustCompile(`^https://[!-;=?-~]{1,800}$`)

// unsubscribeHeaders are those by which the recipient of a message unsubscribes.
func (s *submissionService) unsubscribeHeaders(account string, in *posternv1.Submission, recipients []string) ([]compose.Header, error) {
	how := in.GetUnsubscribe()
	if how == nil {
		return nil, nil
	}
	if slices.ContainsFunc(in.GetHeaders(), func(h *posternv1.Header) bool {
		return strings.EqualFold(h.GetName(), headerUnsubscribe) || strings.EqualFold(h.GetName(), headerUnsubscribePost)
	}) {
		return nil, refuseField("submission.unsubscribe", reasonArgumentInvalid, "The headers say how to unsubscribe, too: give it in one way.")
	}
	link := how.GetUrl()
	if how.GetHosted() {
		if given := in.GetEnvelope().GetRcptTo(); len(given) > 0 {
			recipients = given
		}
		var err error
		if link, err = s.hostedLink(account, recipients); err != nil {
			return nil, err
		}
	}
	if parsed, err := url.Parse(link); err != nil || parsed.Host == "" || !unsubscribeURL.MatchString(link) {
		return nil, refuseField("submission.unsubscribe.url", reasonArgumentInvalid, "It is not an https URL of at most 808 characters.")
	}
	return []compose.Header{
		{Name: headerUnsubscribe, Value: "<" + link + ">"},
		{Name: headerUnsubscribePost, Value: headerUnsubscribe + "=" + oneClick},
	}, nil
}

// hostedLink is a link to Postern's own page. It stands for one address, so the message
// has to be for one.
func (s *submissionService) hostedLink(account string, recipients []string) (string, error) {
	switch {
	case s.unsubscriber.publicURL == "":
		return "", refuseField("submission.unsubscribe.hosted", reasonArgumentInvalid,
			"Postern does not know where the world reaches it: start it with --public-url, or give a url of yours.")
	case len(recipients) != 1:
		return "", refuseField("submission.unsubscribe.hosted", reasonArgumentInvalid,
			"The message has %d recipients, who would unsubscribe each other: send one to each, as a merge does.", len(recipients))
	}
	id, err := submit.BlockID(recipients[0])
	if err != nil || id == "" {
		return "", refuseField("submission.to[0].address", reasonArgumentInvalid, "%s: %v.", said(recipients[0]), err)
	}
	return s.unsubscriber.link(account, recipients[0])
}
