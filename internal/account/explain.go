package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
)

// explain says in words what a failed trial of an endpoint means and what to
// do. The protocol is the name of the endpoint in the account.
func explain(err error, endpoint *Endpoint, protocol string) string {
	server := fmt.Sprintf("%s port %d", endpoint.Host, endpoint.Port)
	var (
		refused     *netguard.RefusedError
		dns         *net.DNSError
		unavailable *TokenUnavailableError
		denied      *TokenRefusedError
		auth        *imapconn.AuthError
		tlsErr      *imapconn.TLSError
		inClear     *PlaintextError
		protocolErr *imapconn.ProtocolError
		network     net.Error
	)
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &inClear):
		return inClear.Error()
	case errors.As(err, &unavailable), errors.As(err, &denied):
		return err.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("there is no host %s: check %s.host", endpoint.Host, protocol)
	case errors.As(err, &dns):
		return fmt.Sprintf("%s cannot be looked up now: %s", endpoint.Host, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens on %s: check %s.port", server, protocol)
	case errors.As(err, &tlsErr):
		return explainTLS(tlsErr, endpoint, protocol)
	case errors.As(err, &auth):
		return fmt.Sprintf("the server does not accept the credentials of %s (%s): check them; many providers want "+
			"an app password or OAuth 2.0 in place of the account's password", endpoint.Username, shorten(auth.Error()))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("%s does not answer: check %s.host, %s.port and %s.tls_mode, and that no firewall is in between",
			server, protocol, protocol, protocol)
	case errors.Is(err, context.Canceled):
		return "the trial was canceled"
	case errors.As(err, &protocolErr):
		return fmt.Sprintf("what listens on %s does not speak %s (%v): check %s.port and %s.tls_mode",
			server, strings.ToUpper(protocol), protocolErr.Err, protocol, protocol)
	}
	return fmt.Sprintf("%s: %s", server, shorten(err.Error()))
}

func explainTLS(err error, endpoint *Endpoint, protocol string) string {
	var (
		plain     tls.RecordHeaderError
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		pin       *PinError
	)
	switch {
	case errors.As(err, &plain):
		return fmt.Sprintf("port %d does not speak TLS from the first byte: set %s.tls_mode to STARTTLS, or use the TLS port",
			endpoint.Port, protocol)
	case errors.As(err, &name):
		return fmt.Sprintf("the server's certificate is not for %s (%s): check %s.host", endpoint.Host, shorten(name.Error()), protocol)
	case errors.As(err, &pin):
		return fmt.Sprintf("%v in %s.tls: if the server was given a new key, pin that one as well", pin, protocol)
	case errors.As(err, &authority) && endpoint.Trust.Authorities != "":
		return fmt.Sprintf("the server's certificate is not signed by one of the authorities in %s.tls", protocol)
	case errors.As(err, &authority):
		return fmt.Sprintf("the server's certificate is not signed by an authority that this machine trusts: for a private "+
			"server, name its authority or its key in %s.tls", protocol)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet"
	case isVersion(err):
		return fmt.Sprintf("the server and Postern find no version of TLS in common (%s): Postern speaks TLS 1.2 and 1.3",
			shorten(err.Error()))
	}
	return shorten(err.Error())
}

// isVersion knows the errors of crypto/tls, which have no type, for a server that
// refuses our versions or chooses one that was not offered.
func isVersion(err error) bool {
	return strings.Contains(err.Error(), "protocol version not supported") ||
		strings.Contains(err.Error(), "server selected unsupported protocol version")
}

// refusedCertificate is the certificate that made a handshake fail, or nil.
func refusedCertificate(err error) *x509.Certificate {
	var unverified *tls.CertificateVerificationError
	var pin *PinError
	switch {
	case errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0:
		return unverified.UnverifiedCertificates[0]
	case errors.As(err, &pin):
		return pin.Certificate
	}
	return nil
}

// Explain says what went wrong in connecting to an account's IMAP server in words
// that say what to do, and is empty for what the error itself says well enough.
func (a *Account) Explain(err error) string {
	var (
		tlsErr  *imapconn.TLSError
		inClear *PlaintextError
		refused *netguard.RefusedError
	)
	if errors.As(err, &tlsErr) || errors.As(err, &inClear) || errors.As(err, &refused) {
		return explain(err, &a.IMAP, "imap")
	}
	return ""
}
