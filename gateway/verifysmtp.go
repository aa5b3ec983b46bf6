package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
)

// verifySMTP logs in to the SMTP server and leaves again. imap has the policy
// of which networks may be reached, and the token of an OAuth account.
func (v verifier) verifySMTP(ctx context.Context, t *trial, endpoint account.Endpoint, imap imapconn.Config) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	if f := trySMTP(ctx, endpoint, imap); f != nil {
		t.failed(checkSMTPAuth, f)
		return
	}
	t.passed(checkSMTPAuth, "Logged in to %s as %s.", endpoint.Host, endpoint.Username)
}

// Reasons of the SMTP step. They are in the answer of a verification only.
const (
	reasonSMTPUnavailable reason = "SMTP_UNAVAILABLE"
	reasonSMTPTLSFailed   reason = "SMTP_TLS_FAILED"
	reasonSMTPAuthFailed  reason = "SMTP_AUTH_FAILED"
)

func trySMTP(ctx context.Context, endpoint account.Endpoint, imap imapconn.Config) *failure {
	dial := imap.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	addr := net.JoinHostPort(endpoint.Host, strconv.Itoa(endpoint.Port))
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return refuse(codes.Unavailable, reasonSMTPUnavailable, "The SMTP server cannot be reached: %v", err)
	}
	defer conn.Close() //nolint:errcheck // the trial is over either way
	// go-smtp knows no contexts: the end of ours closes the connection.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return refuse(codes.Unavailable, reasonSMTPUnavailable, "The SMTP server cannot be reached: %v", err)
		}
	}
	client, f := greetSMTP(ctx, conn, endpoint, imap.TLS)
	if f != nil {
		return f
	}
	if f := loginSMTP(ctx, client, endpoint, imap.Auth.Token); f != nil {
		return f
	}
	// A server that does not say goodbye has accepted the login all the same.
	_ = client.Quit()
	return nil
}

// greetSMTP begins the session, protected as the account says.
func greetSMTP(ctx context.Context, conn net.Conn, endpoint account.Endpoint, base *tls.Config) (*smtp.Client, *failure) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		cfg = base.Clone()
	}
	cfg.ServerName = endpoint.Host
	var client *smtp.Client
	switch endpoint.TLSMode {
	case account.STARTTLS:
		var err error
		if client, err = smtp.NewClientStartTLS(conn, cfg); err != nil {
			return nil, smtpFailure(err, reasonSMTPTLSFailed, "The SMTP server does not start TLS")
		}
	case account.Plaintext:
		client = smtp.NewClient(conn)
	default:
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, smtpFailure(err, reasonSMTPTLSFailed, "The connection to the SMTP server could not be protected")
		}
		client = smtp.NewClient(secured)
	}
	client.CommandTimeout, client.SubmissionTimeout = verifyTimeout, verifyTimeout
	if err := client.Hello("localhost"); err != nil {
		return nil, smtpFailure(err, reasonSMTPUnavailable, "The SMTP server does not answer as it should")
	}
	return client, nil
}

// loginSMTP logs in by the strongest mechanism that the server offers.
func loginSMTP(ctx context.Context, client *smtp.Client, endpoint account.Endpoint, token func(context.Context) (string, error)) *failure {
	credentials := imapconn.Credentials{
		Username: endpoint.Username, Password: endpoint.Password.Reveal(), Host: endpoint.Host, Port: endpoint.Port,
	}
	if endpoint.OAuth2 != nil && token != nil {
		var err error
		if credentials.Token, err = token(ctx); err != nil {
			return refuse(codes.FailedPrecondition, reasonSMTPAuthFailed, "There is no access token for the SMTP server: %v", err)
		}
	}
	_, offered := client.Extension("AUTH")
	mechanisms := credentials.SASLMechanisms(strings.Fields(offered))
	if len(mechanisms) == 0 {
		return refuse(codes.FailedPrecondition, reasonSMTPAuthFailed,
			"The SMTP server offers no way to log in that fits the credentials; it offers: %s.", said(offered))
	}
	auth, err := credentials.SASLClient(mechanisms[0])
	if err != nil {
		return refuse(codes.FailedPrecondition, reasonSMTPAuthFailed, "The credentials cannot be used with the SMTP server: %v", err)
	}
	if err := client.Auth(auth); err != nil {
		return smtpFailure(err, reasonSMTPAuthFailed, "The SMTP server refused the credentials")
	}
	return nil
}

// smtpFailure tells a refusal by the server, which is final, from one that
// passes (RFC 5321 section 4.2.1: 4yz) and from a broken connection.
func smtpFailure(err error, why reason, what string) *failure {
	var answer *smtp.SMTPError
	if errors.As(err, &answer) {
		if answer.Temporary() {
			why = reasonSMTPUnavailable
		}
		return refuse(codes.FailedPrecondition, why, "%s: %d %s", what, answer.Code, said(answer.Message))
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return refuse(codes.Unavailable, reasonSMTPUnavailable, "The SMTP server does not answer within %s.", verifyTimeout)
	}
	return refuse(codes.FailedPrecondition, why, "%s: %v", what, err)
}
