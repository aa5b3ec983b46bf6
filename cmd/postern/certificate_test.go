package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a certificate for 127.0.0.1, and gives it.
func writePair(t *testing.T, dir string, modified time.Time) (cert *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(modified.UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return cert, certFile, keyFile
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	cert, certFile, keyFile := writePair(t, t.TempDir(), time.Now())
	p := serveIn(t, t.TempDir(), "--tls-cert", certFile, "--tls-key", keyFile)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	client := p.client()
	client.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	if _, err := client.call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
		t.Error(err)
	}
	p.stop(t)
	args := append([]string{"serve", "--data-dir", t.TempDir(), "--tls-cert", keyFile, "--tls-key", keyFile}, loopback...)
	execute(t, nil, args...).failed(t, "--tls-cert and --tls-key: ")
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, certFile, keyFile := writePair(t, dir, time.Now().Add(-time.Hour))
	c, err := newCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	serves := func(what string, want *x509.Certificate) {
		t.Helper()
		c.looked = time.Time{} // as if a minute had passed
		got, err := c.get(nil)
		if err != nil || !bytes.Equal(got.Certificate[0], want.Raw) {
			t.Errorf("%s: another certificate is served (%v)", what, err)
		}
	}
	serves("unchanged", first)
	second, _, _ := writePair(t, dir, time.Now())
	serves("renewed", second)
	if err := os.WriteFile(keyFile, []byte("in the middle of"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(keyFile, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	serves("half renewed", second)
}
