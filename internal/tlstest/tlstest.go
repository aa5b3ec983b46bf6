// Package tlstest makes certificate authorities, and certificates that are right
// or wrong in one respect, for tests.
package tlstest

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
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Template says what a certificate is like. What is left out is what makes it
// good for a server on loopback.
type Template struct {
	// Names and IPs are what it is for; by default localhost and 127.0.0.1.
	Names []string
	IPs   []net.IP
	// NotBefore and NotAfter are its dates; by default an hour ago and in a day.
	NotBefore, NotAfter time.Time
	// Key is the server's; by default a new one.
	Key *ecdsa.PrivateKey
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

// NewAuthority makes an authority that is good until a time, or for a day.
func NewAuthority(tb testing.TB, until time.Time) *Authority {
	tb.Helper()
	key := NewKey(tb)
	template := certificate(&Template{NotAfter: until})
	template.Subject = pkix.Name{CommonName: "tlstest authority"}
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	template.DNSNames, template.IPAddresses, template.ExtKeyUsage = nil, nil, nil
	return &Authority{Certificate: sign(tb, template, template, key, key), key: key}
}

// Issue makes a server's certificate that the authority has signed.
func (a *Authority) Issue(tb testing.TB, t Template) tls.Certificate {
	tb.Helper()
	if t.Key == nil {
		t.Key = NewKey(tb)
	}
	leaf := sign(tb, certificate(&t), a.Certificate, t.Key, a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: t.Key, Leaf: leaf}
}

// SelfSigned makes a server's certificate that nobody vouches for.
func SelfSigned(tb testing.TB, t Template) tls.Certificate {
	tb.Helper()
	if t.Key == nil {
		t.Key = NewKey(tb)
	}
	template := certificate(&t)
	leaf := sign(tb, template, template, t.Key, t.Key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: t.Key, Leaf: leaf}
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// PEM writes a certificate in PEM.
func PEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func certificate(t *Template) *x509.Certificate {
	now := time.Now()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "tlstest server"}, DNSNames: t.Names, IPAddresses: t.IPs,
		NotBefore: t.NotBefore, NotAfter: t.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(t.Names)+len(t.IPs) == 0 {
		c.DNSNames, c.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
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

func sign(tb testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		tb.Fatal(err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
