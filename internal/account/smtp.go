package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// ErrNoSMTP says that an account has no server to send through.
var ErrNoSMTP = errors.New("the account has no SMTP server")

// SMTPConfig says how to reach and enter the account's SMTP server, with an
// access token that is good now. It fails with [ErrNoSMTP], and like Do for the
// token.
func (c *Connector) SMTPConfig(ctx context.Context, a *Account) (smtpconn.Config, error) {
	login, ok := a.SMTPLogin()
	if !ok {
		return smtpconn.Config{}, ErrNoSMTP
	}
	config := smtpconn.Config{
		Host: login.Host, Port: login.Port, TLSMode: imapMode(login.TLSMode), TLS: c.tlsConfig(&login), Dial: c.dialer(&login),
		Credentials: imapconn.Credentials{
			Username: login.Username, Password: login.Password.Reveal(), Host: login.Host, Port: login.Port,
		},
	}
	if login.OAuth2 == nil {
		return config, nil
	}
	token, err := c.tokens.token(ctx, smtpGrant(a))
	if err != nil {
		return smtpconn.Config{}, err
	}
	config.Credentials.Password, config.Credentials.Token = "", token
	return config, nil
}

// SMTPRefused notes that the account's SMTP server did not accept what SMTPConfig
// gave. It reports whether another attempt makes sense: an access token may have
// been revoked, and the provider gives another.
func (c *Connector) SMTPRefused(ctx context.Context, a *Account) bool {
	return c.tokens.reject(ctx, smtpGrant(a))
}

// smtpGrant names the tokens that an account sends with.
func smtpGrant(a *Account) grant { return grant{account: a.ID, smtp: !a.smtpSharesLogin()} }

// verifySMTP logs in to the SMTP server and leaves.
func (c *Connector) verifySMTP(ctx context.Context, a *Account) Step {
	login, ok := a.SMTPLogin()
	if !ok {
		return Step{Check: CheckSMTPAuth, Outcome: StepSkipped, Detail: ErrNoSMTP.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	start := time.Now()
	mechanism, certificate, err := c.trySMTP(ctx, a)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what the closed connection says is only its consequence
	}
	if err != nil {
		return failed(CheckSMTPAuth, time.Since(start), err, &login, "smtp")
	}
	return Step{Check: CheckSMTPAuth, Outcome: StepPassed, Elapsed: time.Since(start),
		Detail: "logged in as " + login.Username + " by " + mechanism, Certificate: certificate}
}

func (c *Connector) trySMTP(ctx context.Context, a *Account) (mechanism string, certificate *x509.Certificate, err error) {
	config, err := c.SMTPConfig(ctx, a)
	if err != nil {
		return "", nil, err
	}
	config.TLS = observed(config.TLS, func(state tls.ConnectionState) { certificate = state.PeerCertificates[0] })
	conn, err := smtpconn.Dial(ctx, config)
	if err != nil {
		return "", nil, err
	}
	// The login is what was asked for; whether the server takes leave is not.
	conn.Quit(ctx)
	return conn.Mechanism(), certificate, nil
}
