package imapconn

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// The mechanisms that [NewSASLClient] has besides those of go-sasl.
const (
	mechSCRAMSHA256 = "SCRAM-SHA-256"
	mechSCRAMSHA1   = "SCRAM-SHA-1"
	mechXOAuth2     = "XOAUTH2"
)

var (
	// strongest first; those of a group need the same kind of credentials.
	passwordMechanisms = []string{mechSCRAMSHA256, mechSCRAMSHA1, sasl.Plain, sasl.Login}
	tokenMechanisms    = []string{sasl.OAuthBearer, mechXOAuth2}
)

// Credentials are what a SASL client proves. They print as [redacted].
type Credentials struct {
	Username string
	Password string
	// Token is an OAuth 2.0 access token; it takes the password's place.
	Token string
	// Host and Port name the server to it, which OAUTHBEARER wants.
	Host string
	Port int
}

// String returns [redacted].
func (Credentials) String() string { return redacted }

// GoString returns [redacted].
func (Credentials) GoString() string { return redacted }

// LogValue implements [slog.LogValuer] with [redacted].
func (Credentials) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler with "[redacted]".
func (Credentials) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// SASLMechanisms returns those of the offered mechanisms that these
// credentials can use, the strongest first. It serves any protocol with SASL.
func (c Credentials) SASLMechanisms(offered []string) []string {
	ours := passwordMechanisms
	if c.Token != "" {
		ours = tokenMechanisms
	}
	var usable []string
	for _, m := range ours {
		if slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, m) }) {
			usable = append(usable, m)
		}
	}
	return usable
}

// SASLClient returns the client side of a mechanism that SASLMechanisms named.
// It fails if the mechanism cannot express the credentials.
//
// If the result has a method Verify, it is to be called after the server
// accepted: mutual authentication fails if the server did not prove that it
// knows the password.
func (c Credentials) SASLClient(mechanism string) (sasl.Client, error) {
	switch mechanism {
	case mechSCRAMSHA256:
		return newSCRAMClient(mechanism, scram.SHA256, c)
	case mechSCRAMSHA1:
		return newSCRAMClient(mechanism, scram.SHA1, c)
	case sasl.Plain:
		if strings.ContainsRune(c.Username, 0) || strings.ContainsRune(c.Password, 0) {
			return nil, errors.New("PLAIN cannot carry a NUL")
		}
		return sasl.NewPlainClient("", c.Username, c.Password), nil
	case sasl.Login:
		return &loginClient{answers: []string{c.Username, c.Password}}, nil
	case sasl.OAuthBearer:
		return &oauthBearerClient{Client: sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{
			Username: gs2Escaper.Replace(c.Username), Token: c.Token, Host: c.Host, Port: c.Port,
		})}, nil
	case mechXOAuth2:
		return &xoauth2Client{username: c.Username, token: c.Token}, nil
	}
	return nil, fmt.Errorf("no SASL mechanism %q", mechanism)
}

// gs2Escaper writes a saslname (RFC 5801 section 4).
var gs2Escaper = strings.NewReplacer("=", "=3D", ",", "=2C")

// loginClient is the client of the LOGIN mechanism, which was never specified
// beyond an expired draft: the server asks twice, in words of its own. go-sasl's
// sends the user name unasked, which Exchange and others refuse.
type loginClient struct{ answers []string }

func (c *loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(answer), nil
}

// oauthBearerClient makes go-sasl's client end a refusal as RFC 7628 section
// 3.2.3 asks: the server's error is answered by a single 0x01, upon which the
// server fails the command with its code and text. Aborting would lose them.
type oauthBearerClient struct{ sasl.Client }

func (*oauthBearerClient) Next([]byte) ([]byte, error) { return []byte{1}, nil }

// xoauth2Client is the client of the older mechanism of Google and Microsoft.
// https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
type xoauth2Client struct{ username, token string }

func (c *xoauth2Client) Start() (string, []byte, error) {
	if strings.ContainsRune(c.username, 1) || strings.ContainsRune(c.token, 1) {
		return "", nil, errors.New("XOAUTH2 cannot carry a 0x01")
	}
	return mechXOAuth2, []byte("user=" + c.username + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

// Next answers the server's error with an empty line; the refusal follows.
func (*xoauth2Client) Next([]byte) ([]byte, error) { return []byte{}, nil }

// maxSCRAMIterations bounds the work that a server may ask of us. It is far
// above what is recommended today (600,000) and takes a fraction of a second.
const maxSCRAMIterations = 2_000_000

// scramClient is the client of the SCRAM mechanisms (RFC 5802, RFC 7677),
// without channel binding.
type scramClient struct {
	mechanism string
	conv      *scram.ClientConversation
}

func newSCRAMClient(mechanism string, hash scram.HashGeneratorFcn, c Credentials) (sasl.Client, error) {
	client, err := hash.NewClient(c.Username, c.Password, "")
	if err != nil {
		return nil, err
	}
	return &scramClient{mechanism: mechanism, conv: client.NewConversation()}, nil
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.conv.Step("")
	return c.mechanism, []byte(first), err
}

var scramIterations = regexp.MustCompile(`,i=(\d+)`)

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if m := scramIterations.FindSubmatch(challenge); m != nil {
		if n, err := strconv.Atoi(string(m[1])); err != nil || n > maxSCRAMIterations {
			return nil, fmt.Errorf("the server asks for %s SCRAM iterations", m[1])
		}
	}
	answer, err := c.conv.Step(string(challenge))
	return []byte(answer), err
}

// Verify fails if the server has not proved its knowledge of the password.
func (c *scramClient) Verify() error {
	if !c.conv.Valid() {
		return errors.New("the server accepted without proving itself (SCRAM)")
	}
	return nil
}
