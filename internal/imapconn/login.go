package imapconn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"github.com/postern-mail/postern/internal/imapwire"
)

// login enters by the strongest mechanism that the server offers. A mechanism
// that is offered and does not work leads to the next one; an answer that
// settles the matter does not.
func (c *Conn) login(ctx context.Context, cfg *Config) error {
	cred, err := cfg.credentials(ctx)
	if err != nil {
		return err
	}
	mechanisms := cred.SASLMechanisms(c.caps.set.AuthMechanisms())
	if c.mayLogin(&cred) {
		mechanisms = append(mechanisms, loginCommand)
	}
	if len(mechanisms) == 0 {
		return &AuthError{Err: errors.New("the server offers no mechanism for these credentials")}
	}
	if cfg.BeforeLogin != nil {
		done, err := cfg.BeforeLogin(ctx)
		if err != nil {
			return fmt.Errorf("wait to log in: %w", err)
		}
		defer done()
	}
	var last error
	skip := make(map[string]bool)
	for _, mechanism := range mechanisms {
		if skip[mechanism] {
			continue
		}
		err := c.authenticate(ctx, mechanism, &cred)
		if err == nil || c.err != nil || ctx.Err() != nil {
			return err
		}
		last = authError(mechanism, err)
		if settled(err) {
			return last
		}
		var refused *Error
		if errors.As(err, &refused) && refused.Type == imap.StatusResponseTypeNo {
			// The server knows the mechanism and did not accept what it proved.
			// The mechanism that proves the same in the same way would only be
			// one more failed login on somebody's count.
			skip[sameAs[mechanism]] = true
		}
	}
	return last
}

// loginCommand stands for the LOGIN command among the mechanisms.
const loginCommand = "the LOGIN command"

var sameAs = map[string]string{mechSCRAMSHA256: mechSCRAMSHA1, sasl.Login: loginCommand}

// credentials fetches what is to be proved.
func (c *Config) credentials(ctx context.Context) (Credentials, error) {
	cred := Credentials{Username: c.Auth.Username, Password: c.Auth.Password, Host: c.Host, Port: c.Port}
	if c.Auth.Token == nil {
		return cred, nil
	}
	token, err := c.Auth.Token(ctx)
	if err != nil {
		return cred, fmt.Errorf("fetch an access token: %w", err)
	}
	if token == "" {
		return cred, errors.New("fetch an access token: it is empty")
	}
	cred.Password, cred.Token = "", token
	return cred, nil
}

// mayLogin reports whether the LOGIN command is possible.
func (c *Conn) mayLogin(cred *Credentials) bool {
	return cred.Token == "" && !c.Has(imap.CapLoginDisabled)
}

// settled reports whether an answer makes further attempts pointless: it speaks
// of the credentials, the account or the server's condition rather than of the
// mechanism.
func settled(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case imap.ResponseCodeAuthenticationFailed, imap.ResponseCodeAuthorizationFailed, imap.ResponseCodeExpired,
		imap.ResponseCodeContactAdmin:
		return true
	}
	_, wait := RetryAfter(err)
	return wait
}

// authError says what a failed attempt means. A momentary refusal and one of a
// command that the server does not understand say nothing of the credentials.
func authError(mechanism string, err error) error {
	var refused *Error
	if errors.As(err, &refused) {
		_, wait := RetryAfter(err)
		if wait || refused.Type == imap.StatusResponseTypeBad || refused.Code == imap.ResponseCodeServerBug {
			return err
		}
	}
	return &AuthError{Mechanism: mechanism, Err: err}
}

// authenticate makes one attempt. The connection remains usable if the error is
// an [*Error].
func (c *Conn) authenticate(ctx context.Context, mechanism string, cred *Credentials) error {
	// A capability list that comes with the completion is the one to use.
	before := c.caps
	c.caps = nil
	err := c.attempt(ctx, before, mechanism, cred)
	if err != nil && c.caps == nil {
		c.caps = before
	}
	return err
}

func (c *Conn) attempt(ctx context.Context, before *capabilities, mechanism string, cred *Credentials) error {
	if mechanism == loginCommand {
		// Always strings, never atoms: servers differ in what they take for one.
		_, err := c.do(ctx, &command{name: "LOGIN", data: c.capabilityData, encode: func(e *imapwire.Encoder) {
			e.LiteralPlus, e.LiteralMinus = before.has(imap.CapLiteralPlus), before.has(imap.CapLiteralMinus)
			e.Atom("LOGIN").SP().String(cred.Username).SP().String(cred.Password)
		}})
		return err
	}
	client, err := cred.SASLClient(mechanism)
	if err != nil {
		return err
	}
	name, initial, err := client.Start()
	if err != nil {
		return err
	}
	x := &saslExchange{client: client}
	cmd := &command{name: "AUTHENTICATE", data: c.capabilityData, challenge: x.answer}
	cmd.encode = func(e *imapwire.Encoder) {
		e.Atom("AUTHENTICATE").SP().Atom(name)
		if initial == nil {
			return
		}
		// RFC 4959 section 3: with SASL-IR the initial response goes along.
		if before.has(imap.CapSASLIR) && len(initial) <= maxInitial {
			e.SP().Atom(encodeSASL(initial, true))
		} else {
			x.initial, x.hasInitial = initial, true
		}
	}
	if _, err := c.do(ctx, cmd); err != nil {
		if x.err != nil && c.err == nil {
			return fmt.Errorf("%w (%w)", err, x.err)
		}
		return err
	}
	if v, ok := client.(interface{ Verify() error }); ok {
		if err := v.Verify(); err != nil {
			return c.fail(&AuthError{Mechanism: mechanism, Err: err})
		}
	}
	return nil
}

// maxInitial keeps the command line within what servers take (RFC 9051 section
// 4.3.1 asks for 8,192 bytes); access tokens can be longer.
const maxInitial = 4096

// saslExchange answers the challenges of one AUTHENTICATE command.
type saslExchange struct {
	client     sasl.Client
	initial    []byte
	hasInitial bool
	err        error // why the exchange was given up
}

// answer implements command.challenge.
func (x *saslExchange) answer(text string) (string, error) {
	if x.hasInitial {
		x.hasInitial = false
		return encodeSASL(x.initial, false), nil
	}
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		var response []byte
		if response, err = x.client.Next(challenge); err == nil {
			return encodeSASL(response, false), nil
		}
	}
	x.err = err
	return "*", nil // RFC 9051 section 6.2.2: gives the exchange up
}

// encodeSASL writes a response in base64. An empty initial response is "=", for
// the argument of the command cannot be empty.
func encodeSASL(b []byte, initial bool) string {
	if len(b) == 0 && initial {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}
