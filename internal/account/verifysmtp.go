package account

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/imapconn"
)

// SMTPCredentials gives what the account logs in to its SMTP server with, an
// access token included. It fails like Do.
func (c *Connector) SMTPCredentials(ctx context.Context, a *Account) (imapconn.Credentials, error) {
	login, ok := a.SMTPLogin()
	if !ok {
		return imapconn.Credentials{}, errors.New("the account has no SMTP server")
	}
	credentials := imapconn.Credentials{
		Username: login.Username, Password: login.Password.Reveal(), Host: login.Host, Port: login.Port,
	}
	if login.OAuth2 == nil {
		return credentials, nil
	}
	token, err := c.tokens.token(ctx, grant{account: a.ID, smtp: !a.smtpSharesLogin()})
	if err != nil {
		return imapconn.Credentials{}, err
	}
	credentials.Password, credentials.Token = "", token
	return credentials, nil
}

// verifySMTP logs in to the SMTP server and leaves.
func (c *Connector) verifySMTP(ctx context.Context, a *Account) Step {
	login, ok := a.SMTPLogin()
	if !ok {
		return Step{Check: CheckSMTPAuth, Outcome: StepSkipped, Detail: "the account has no SMTP server"}
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	start := time.Now()
	mechanism, err := c.trySMTP(ctx, a, &login)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what the closed connection says is only its consequence
	}
	if err != nil {
		return failed(CheckSMTPAuth, time.Since(start), err, &login, "smtp")
	}
	return Step{Check: CheckSMTPAuth, Outcome: StepPassed, Elapsed: time.Since(start),
		Detail: "logged in as " + login.Username + " by " + mechanism}
}

// trySMTP connects, secures the connection and logs in.
func (c *Connector) trySMTP(ctx context.Context, a *Account, login *Endpoint) (mechanism string, err error) {
	credentials, err := c.SMTPCredentials(ctx, a)
	if err != nil {
		return "", err
	}
	conn, err := c.config.Dial(ctx, "tcp", net.JoinHostPort(login.Host, strconv.Itoa(login.Port)))
	if err != nil {
		return "", err
	}
	// The SMTP client knows no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client, err := c.secureSMTP(ctx, conn, login)
	if err != nil {
		_ = conn.Close()
		return "", err
	}
	defer client.Close()
	if mechanism, err = loginSMTP(client, credentials); err != nil {
		return "", err
	}
	// The login is what was asked for; whether the server takes leave is not.
	_ = client.Quit()
	return mechanism, nil
}

// secureSMTP puts SMTP on a connection, with TLS as the account says.
func (c *Connector) secureSMTP(ctx context.Context, conn net.Conn, login *Endpoint) (*smtp.Client, error) {
	config := c.config.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName = login.Host
	}
	switch login.TLSMode {
	case Plaintext:
		return smtp.NewClient(conn), nil
	case STARTTLS:
		client, err := smtp.NewClientStartTLS(conn, config)
		if err == nil {
			// The handshake is put off until something is sent.
			err = client.Hello("localhost")
		}
		if err != nil {
			return nil, &imapconn.TLSError{Err: err}
		}
		return client, nil
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, &imapconn.TLSError{Err: err}
	}
	return smtp.NewClient(secured), nil
}

// smtpNoMechanism is the reply to a mechanism that does not work after all
// (RFC 4954 section 4).
const smtpNoMechanism = 504

// loginSMTP authenticates by the strongest mechanism that works.
func loginSMTP(client *smtp.Client, credentials imapconn.Credentials) (mechanism string, err error) {
	_, offered := client.Extension("AUTH")
	mechanisms := credentials.SASLMechanisms(strings.Fields(offered))
	err = &imapconn.AuthError{Err: errors.New("the server offers no mechanism for these credentials")}
	for _, mechanism := range mechanisms {
		saslClient, clientErr := credentials.SASLClient(mechanism)
		if clientErr != nil {
			err = clientErr
			continue
		}
		err = client.Auth(saslClient)
		if verifier, ok := saslClient.(interface{ Verify() error }); ok && err == nil {
			err = verifier.Verify()
		}
		if err == nil {
			return mechanism, nil
		}
		var reply *smtp.SMTPError
		if !errors.As(err, &reply) {
			return "", err
		}
		if reply.Code != smtpNoMechanism {
			if reply.Code >= 500 {
				err = &imapconn.AuthError{Mechanism: mechanism, Err: err}
			}
			return "", err
		}
	}
	return "", err
}
