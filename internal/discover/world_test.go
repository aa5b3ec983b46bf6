package discover_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/dnstest"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/smtptest"
)

// nobody is a port at which nobody listens.
const nobody = "1"

// mailHosts are the names that the tests' mail servers have certificates for.
var mailHosts = []string{"imap.example.test", "smtp.example.test", "mail.example.test", "mail.hoster.test"}

// world is a network of its own: a name server, mail servers, and web servers at the
// usual ports of hosts that all are this machine.
type world struct {
	*discover.Finder
	dns  *dnstest.Server
	ca   *certtest.Authority
	pool *x509.CertPool

	mu     sync.Mutex
	ports  map[string]string // by host:port
	dialed []string
}

// newWorld makes a world in which addresses within allow may be connected to.
func newWorld(t *testing.T, timeout time.Duration, allow string, records ...string) *world {
	t.Helper()
	w := &world{dns: dnstest.Start(t, records...), ca: certtest.New(t), ports: make(map[string]string)}
	w.pool = w.ca.Pool()
	guard := &netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix(allow)}, Resolver: w.dns.Resolver()}
	dial := guard.Dialer(30 * time.Second)
	w.Finder = discover.New(discover.Config{
		Guard: guard, TLS: &tls.Config{RootCAs: w.pool, MinVersion: tls.VersionTLS12}, UserAgent: "Postern/test", Timeout: timeout,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			if !strings.HasSuffix(host, ".") {
				t.Errorf("%s would be looked up by a search list", host)
			}
			return dial(ctx, network, net.JoinHostPort(host, w.port(strings.TrimSuffix(host, "."), port)))
		},
	})
	return w
}

// port is where a port of a host really is.
func (w *world) port(host, port string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	addr := net.JoinHostPort(host, port)
	w.dialed = append(w.dialed, addr)
	if led := w.ports[addr]; led != "" {
		return led
	}
	return nobody
}

// lead makes a port of a host another one.
func (w *world) lead(addr string, port int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[addr] = strconv.Itoa(port)
}

// connections are the ports that were connected to.
func (w *world) connections() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.dialed))
}

// find finds the candidates for an address.
func (w *world) find(t *testing.T, address string) []discover.Candidate {
	t.Helper()
	parsed, err := discover.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.Find(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// one finds the one candidate for an address.
func (w *world) one(t *testing.T, address string) discover.Candidate {
	t.Helper()
	found := w.find(t, address)
	if len(found) != 1 {
		t.Fatalf("found %+v, want one", found)
	}
	return found[0]
}

// mail starts mail servers in a world, and leads the usual ports of a host to them.
func (w *world) mail(t *testing.T, hosts ...string) {
	t.Helper()
	w.mailFor(t, mailHosts, hosts...)
}

// mailFor does so with certificates for other names.
func (w *world) mailFor(t *testing.T, names []string, hosts ...string) {
	t.Helper()
	dovecot := dovecottest.Start(t, dovecottest.Names(names...))
	authority, err := x509.ParseCertificate(dovecot.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	w.pool.AddCert(authority)
	certificate := w.ca.Issue(t, certtest.Template{Names: names})
	implicit := smtptest.Start(t, smtptest.Config{TLS: true, Certificate: &certificate})
	explicit := smtptest.Start(t, smtptest.Config{STARTTLS: true, Certificate: &certificate})
	for _, host := range hosts {
		w.lead(host+":993", dovecot.TLSPort())
		w.lead(host+":143", dovecot.Port())
		w.lead(host+":465", implicit.Port)
		w.lead(host+":587", explicit.Port)
	}
}

// web serves HTTPS for hosts, with a certificate for them.
func (w *world) web(t *testing.T, handler http.HandlerFunc, hosts ...string) {
	t.Helper()
	w.webAt(t, "127.0.0.1", handler, hosts...)
}

// webAt does so at one of this machine's addresses.
func (w *world) webAt(t *testing.T, ip string, handler http.HandlerFunc, hosts ...string) {
	t.Helper()
	listener, err := tlsListener(ip, w.ca.Issue(t, certtest.Template{Names: hosts}))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends by Close
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	for _, host := range hosts {
		w.lead(host+":443", listener.Addr().(*net.TCPAddr).Port)
	}
}

func tlsListener(ip string, certificate tls.Certificate) (net.Listener, error) {
	return tls.Listen("tcp", net.JoinHostPort(ip, "0"), &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
}
