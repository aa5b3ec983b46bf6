// Package certtest has certificate authorities for tests: they issue certificates
// to clients and servers on loopback that are right, or wrong in one respect.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Template says what a server's certificate is like. What is left out is what makes
// it good for a server on loopback.
type Template struct {
	// Names and IPs are what it is for; by default localhost and 127.0.0.1.
	Names []string
	IPs   []net.IP
	// NotBefore and NotAfter are its dates; by default an hour ago and in a day.
	NotBefore, NotAfter time.Time
	// Key is the server's; by default a new one.
	Key *ecdsa.PrivateKey
}

// New makes an authority that nobody else trusts, good for a day.
func New(tb testing.TB) *Authority {
	tb.Helper()
	return NewUntil(tb, time.Time{})
}

// NewUntil makes an authority that is good until a time, which may have passed.
func NewUntil(tb testing.TB, until time.Time) *Authority {
	tb.Helper()
	key := NewKey(tb)
	template := (&Template{NotAfter: until}).dated()
	template.Subject = pkix.Name{CommonName: "Postern's tests"}
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	return &Authority{Certificate: sign(tb, template, template, key, key), key: key}
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return []byte(PEM(a.Certificate)) }

// Issue issues a certificate to a server.
func (a *Authority) Issue(tb testing.TB, t Template) tls.Certificate {
	tb.Helper()
	return a.issue(tb, t.server(), t.Key)
}

// Server issues a certificate for localhost and 127.0.0.1.
func (a *Authority) Server(tb testing.TB) tls.Certificate {
	tb.Helper()
	return a.Issue(tb, Template{})
}

// Client issues a certificate to a client that change has describe itself.
func (a *Authority) Client(tb testing.TB, change func(*x509.Certificate)) tls.Certificate {
	tb.Helper()
	template := (&Template{}).dated()
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if change != nil {
		change(template)
	}
	return a.issue(tb, template, nil)
}

// Workload issues a certificate to a client that has a URI, as in SPIFFE.
func (a *Authority) Workload(tb testing.TB, uri string) tls.Certificate {
	tb.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		tb.Fatal(err)
	}
	return a.Client(tb, func(c *x509.Certificate) { c.URIs = []*url.URL{parsed} })
}

func (a *Authority) issue(tb testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) tls.Certificate {
	tb.Helper()
	if key == nil {
		key = NewKey(tb)
	}
	return pair(sign(tb, template, a.Certificate, key, a.key), key)
}

// SelfSigned makes a server's certificate that nobody vouches for.
func SelfSigned(tb testing.TB, t Template) tls.Certificate {
	tb.Helper()
	if t.Key == nil {
		t.Key = NewKey(tb)
	}
	template := t.server()
	template.Subject = pkix.Name{CommonName: "a server of Postern's tests"}
	return pair(sign(tb, template, template, t.Key, t.Key), t.Key)
}

// PEM writes a certificate in PEM.
func PEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// Write writes a certificate and its key as PEM files.
func Write(tb testing.TB, pair tls.Certificate, certFile, keyFile string) {
	tb.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// NewKey makes a key.
func NewKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// server is what a server's certificate says.
func (t *Template) server() *x509.Certificate {
	c := t.dated()
	c.DNSNames, c.IPAddresses = t.Names, t.IPs
	if len(t.Names)+len(t.IPs) == 0 {
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return c
}

// dated is a certificate for nobody yet.
func (t *Template) dated() *x509.Certificate {
	now := time.Now()
	c := &x509.Certificate{
		NotBefore: t.NotBefore, NotAfter: t.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = now.AddDate(0, 0, 1)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = now.Add(-time.Hour)
		if !c.NotAfter.After(now) {
			c.NotBefore = c.NotAfter.AddDate(-1, 0, 0)
		}
	}
	return c
}

func pair(leaf *x509.Certificate, key *ecdsa.PrivateKey) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func sign(tb testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}
