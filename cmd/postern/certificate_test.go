package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/selfsigned"
)

// writePair writes a certificate and its key, and gives the pair and its
// authority.
func writePair(t *testing.T, dir string, modified time.Time) (pair tls.Certificate, roots *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	pair, roots, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return pair, roots, certFile, keyFile
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	_, roots, certFile, keyFile := writePair(t, t.TempDir(), time.Now())
	p := serveIn(t, t.TempDir(), "--tls-cert", certFile, "--tls-key", keyFile)
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
	first, _, certFile, keyFile := writePair(t, dir, time.Now().Add(-time.Hour))
	c, err := newCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	serves := func(what string, want tls.Certificate) {
		t.Helper()
		c.looked = time.Time{} // as if a minute had passed
		got, err := c.get(nil)
		if err != nil || !bytes.Equal(got.Certificate[0], want.Certificate[0]) {
			t.Errorf("%s: another certificate is served (%v)", what, err)
		}
	}
	serves("unchanged", first)
	second, _, _, _ := writePair(t, dir, time.Now())
	serves("renewed", second)
	if err := os.WriteFile(keyFile, []byte("in the middle of"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(keyFile, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	serves("half renewed", second)
}
