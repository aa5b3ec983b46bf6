package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
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
		network     net.Error
	)
	switch {
	case errors.As(err, &refused):
		return refused.Error()
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
		return fmt.Sprintf("the server does not accept the credentials of %s (%v): check them; many providers want "+
			"an app password or OAuth 2.0 in place of the account's password", endpoint.Username, auth)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("%s does not answer: check %s.host, %s.port and %s.tls_mode, and that no firewall is in between",
			server, protocol, protocol, protocol)
	case errors.Is(err, context.Canceled):
		return "the trial was canceled"
	}
	return fmt.Sprintf("%s: %v", server, err)
}

func explainTLS(err error, endpoint *Endpoint, protocol string) string {
	var (
		plain     tls.RecordHeaderError
		name      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &plain):
		return fmt.Sprintf("port %d does not speak TLS from the first byte: set %s.tls_mode to STARTTLS, or use the TLS port",
			endpoint.Port, protocol)
	case errors.As(err, &name):
		return fmt.Sprintf("the server's certificate is not for %s (%v): check %s.host", endpoint.Host, name, protocol)
	case errors.As(err, &authority):
		return "the server's certificate is not signed by an authority that this machine trusts"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet"
	}
	return err.Error()
}
