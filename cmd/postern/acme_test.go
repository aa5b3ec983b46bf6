package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/pebbletest"
)

// freeAddr is an address that was free a moment ago, for what has to be told
// beforehand where another will listen.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestServeCertificateOfAnAuthority(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	authority := pebbletest.Start(t, pebbletest.Config{TLS: addr, Life: time.Hour})
	authority.SetDown(true)
	dir := t.TempDir()
	serve := func() *process {
		p := launch(t, []string{"SSL_CERT_FILE=" + authority.TrustFile, "POSTERN_ADMIN_TOKEN=token-of-this-test"},
			"serve", "--data-dir="+dir, "--http="+addr, "--grpc=127.0.0.1:0", "--nats=127.0.0.1:0",
			"--acme-domains=postern.example.com", "--acme-email=ops@example.com", "--acme-directory="+authority.Directory, "--acme-accept-terms")
		p.token = "token-of-this-test"
		return p
	}
	trust := &tls.Config{RootCAs: authority.Issued, ServerName: "postern.example.com"}
	works := func(p *process) bool {
		_, err := p.over(t, trust).call(t.Context(), http.MethodGet, "/v1/accounts", nil)
		return err == nil
	}
	// The authority is down at the start: the process is there and says so.
	first := serve()
	await(t, "the log to say that there is no certificate", func() bool {
		return strings.Contains(first.stderr.String(), "the authority gives no certificate for the API")
	})
	if works(first) {
		t.Error("there is a certificate from nowhere")
	}
	authority.SetDown(false)
	await(t, "REST to be served", func() bool { return works(first) })
	if err := listAccounts(t, first.dial(t, trust), first.token); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	first.stop(t)

	// The next start needs no authority.
	authority.SetDown(true)
	second := serve()
	await(t, "REST to be served again", func() bool { return works(second) })
	if n := authority.Orders(); n != 1 {
		t.Errorf("%d certificates were ordered", n)
	}
	second.stop(t)
}

func TestACMESettingsRefused(t *testing.T) {
	t.Parallel()
	good := []string{"--acme-domains=postern.example.com", "--acme-accept-terms"}
	if _, err := parse(t, append(good, "--http=:443", "--acme-http=:80")...); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"terms":            {good[:1:1], "--acme-accept-terms"},
		"two certificates": {append(good, "--tls-cert=c", "--tls-key=k"), "give one"},
		"wildcard":         {append(good[1:2:2], "--acme-domains=*.example.com"), "wildcard"},
		"no port":          {append(good, "--acme-http=80"), "give HOST:PORT"},
		"nothing to get":   {[]string{"--acme-email=a@example.com"}, "go with --acme-domains"},
		"in clear":         {append(good, "--acme-directory=http://ca.example.com/"), "give an https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}
