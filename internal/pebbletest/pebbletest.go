// Package pebbletest is a certificate authority that speaks ACME, for tests: Let's
// Encrypt's own Pebble, on loopback. It looks at names as the real one does, with
// a name server on which all names are of this machine.
package pebbletest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/certtest"
	"github.com/postern-mail/postern/internal/dnstest"
)

// Authority is a running Pebble.
type Authority struct {
	// Directory is its URL, TrustFile who vouches for the server there.
	Directory, TrustFile string
	// Issued vouches for the certificates that it issues.
	Issued *x509.CertPool

	down   atomic.Bool
	orders atomic.Int64
}

// Config is what a Pebble is to be like.
type Config struct {
	// HTTP and TLS are the addresses that it takes for ports 80 and 443 of names.
	HTTP, TLS string
	// Life is for how long certificates are valid.
	Life time.Duration
}

// Pebble sleeps for some seconds before it looks, to be as slow as others. It reads
// this when it starts.
func init() { _ = os.Setenv("PEBBLE_VA_NOSLEEP", "1") }

// Start starts a Pebble, which ends with the test.
func Start(t testing.TB, cfg Config) *Authority {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(cfg.Life / time.Second)}})
	validator := va.New(quiet, port(t, cfg.HTTP), port(t, cfg.TLS), false, nameServer(t), store)
	front := wfe.New(quiet, store, validator, issuer, []string{"pebble.example"}, false, false, 1, 1)
	a := &Authority{Issued: x509.NewCertPool(), TrustFile: filepath.Join(t.TempDir(), "roots.pem")}
	a.Issued.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	host := certtest.New(t)
	if err := os.WriteFile(a.TrustFile, host.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{host.Server(t)}})
	if err != nil {
		t.Fatal(err)
	}
	handler := front.Handler()
	server := &http.Server{ErrorLog: quiet, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.down.Load() {
			panic(http.ErrAbortHandler)
		}
		answer := &statusWriter{ResponseWriter: w}
		handler.ServeHTTP(answer, r)
		if r.URL.Path == "/order-plz" && answer.status == http.StatusCreated {
			a.orders.Add(1)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	a.Directory = "https://" + listener.Addr().String() + "/dir"
	return a
}

// statusWriter remembers how a request was answered: Pebble refuses some of them for
// nothing, to see whether they come again.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// SetDown cuts all connections, or takes them again.
func (a *Authority) SetDown(down bool) { a.down.Store(down) }

// Orders is how many certificates were asked for.
func (a *Authority) Orders() int { return int(a.orders.Load()) }

func port(t testing.TB, addr string) int {
	t.Helper()
	if addr == "" {
		return 1 // where nobody listens
	}
	parsed, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Port
}

// nameServer says that all names are 127.0.0.1.
func nameServer(t testing.TB) string {
	t.Helper()
	return dnstest.Serve(t, func(question dns.Question) []dns.RR {
		if question.Qtype != dns.TypeA {
			return nil
		}
		return []dns.RR{&dns.A{Hdr: dnstest.Header(question), A: net.IPv4(127, 0, 0, 1)}}
	})
}
