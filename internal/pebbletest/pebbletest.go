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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/certtest"
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
	conn, stream := bothWays(t)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		for _, q := range question.Question {
			if q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1),
				})
			}
		}
		_ = w.WriteMsg(answer)
	})
	var serving sync.WaitGroup
	serving.Go(func() { _ = (&dns.Server{PacketConn: conn, Handler: answer}).ActivateAndServe() })
	serving.Go(func() { _ = (&dns.Server{Listener: stream, Handler: answer}).ActivateAndServe() })
	t.Cleanup(func() {
		_, _ = conn.Close(), stream.Close()
		serving.Wait()
	})
	return conn.LocalAddr().String()
}

// bothWays listens at one port by UDP and TCP: Pebble asks by either.
func bothWays(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var config net.ListenConfig
	for range 20 { // a port that is free for one may be taken for the other
		stream, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := config.ListenPacket(t.Context(), "udp", stream.Addr().String()); err == nil {
			return conn, stream
		}
		_ = stream.Close()
	}
	t.Fatal("no port is free both for UDP and for TCP")
	return nil, nil
}
