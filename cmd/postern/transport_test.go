package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/certtest"
)

var grpcOfReady = regexp.MustCompile(`msg=ready .*grpc=(\S+)`)

// grpcAddr is where the process serves gRPC.
func (p *process) grpcAddr() string { return grpcOfReady.FindStringSubmatch(p.stderr.String())[1] }

// httpAddr is where the process serves REST.
func (p *process) httpAddr() string {
	_, addr, _ := strings.Cut(p.base, "://")
	return addr
}

// over is a client of the process's API whose connections are made so.
func (p *process) over(t *testing.T, cfg *tls.Config) *apiClient {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	client := p.client()
	client.http = &http.Client{Transport: transport}
	return client
}

// dial is a gRPC connection to the process.
func (p *process) dial(t *testing.T, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(p.grpcAddr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// listAccounts calls by gRPC, with a token or without.
func listAccounts(t *testing.T, conn *grpc.ClientConn, token string) error {
	t.Helper()
	ctx := t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	_, err := posternv1.NewAccountServiceClient(conn).ListAccounts(ctx, &posternv1.ListAccountsRequest{})
	return err
}

// served is the certificate that a listener shows to a new connection.
func served(t *testing.T, addr string) []byte {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

func TestServeFollowsItsCertificate(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first, second := ca.Server(t), ca.Server(t)
	certtest.Write(t, first, certFile, keyFile)
	p := serveIn(t, t.TempDir(), "--tls-cert", certFile, "--tls-key", keyFile)
	trust := &tls.Config{RootCAs: ca.Pool()}
	rest, conn := p.over(t, trust), p.dial(t, trust)
	works := func(when string) {
		t.Helper()
		if _, err := rest.call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if err := listAccounts(t, conn, p.token); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	works("at first")
	watch, err := rest.watch(t.Context(), "/v1/events:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.close()

	certtest.Write(t, second, certFile, keyFile)
	for what, addr := range map[string]string{"REST": p.httpAddr(), "gRPC": p.grpcAddr()} {
		await(t, what+" to show the new certificate", func() bool { return bytes.Equal(served(t, addr), second.Certificate[0]) })
	}
	works("with connections from before")
	if _, err := p.over(t, trust).call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
		t.Errorf("with a new connection: %v", err)
	}

	if err := os.WriteFile(keyFile, []byte("in the middle of"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the log to say that the files are of no use", func() bool {
		return strings.Contains(p.stderr.String(), "what they held before stays in force")
	})
	if !bytes.Equal(served(t, p.httpAddr()), second.Certificate[0]) || !bytes.Equal(served(t, p.grpcAddr()), second.Certificate[0]) {
		t.Error("broken files have changed what is served")
	}
	p.stop(t)

	args := append([]string{"serve", "--data-dir", t.TempDir(), "--tls-cert", keyFile, "--tls-key", keyFile}, loopback...)
	execute(t, nil, args...).failed(t, "--tls-cert and --tls-key: ")
}

func TestServeSpeaksNothingOld(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certtest.Write(t, ca.Server(t), certFile, keyFile)
	p := serveIn(t, t.TempDir(), "--tls-cert", certFile, "--tls-key", keyFile)
	for name, c := range map[string]struct {
		cfg   *tls.Config
		works bool
	}{
		"TLS 1.3":          {&tls.Config{MinVersion: tls.VersionTLS13}, true},
		"TLS 1.2":          {&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.1":          {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"CBC":              {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		"another protocol": {&tls.Config{NextProtos: []string{"smtp"}}, false},
	} {
		for door, addr := range map[string]string{"REST": p.httpAddr(), "gRPC": p.grpcAddr()} {
			t.Run(name+" "+door, func(t *testing.T) {
				t.Parallel()
				cfg := c.cfg.Clone()
				cfg.RootCAs = ca.Pool()
				if cfg.NextProtos == nil {
					cfg.NextProtos = []string{"h2"}
				}
				conn, err := tls.Dial("tcp", addr, cfg)
				if err == nil {
					defer conn.Close()
				}
				if works := err == nil; works != c.works {
					t.Errorf("works: %t: %v", works, err)
				}
			})
		}
	}
}

func TestListenersWithoutTLS(t *testing.T) {
	t.Parallel()
	for addr, fine := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:0": true, "[::1]:0": true, "localhost:0": true, "[::ffff:127.0.0.1]:0": true,
		"0.0.0.0:0": false, "[::]:0": false, ":0": false, "[::ffff:0.0.0.0]:0": false, "192.0.2.1:0": false, "[fe80::1%lo]:0": false,
		"localhost.localdomain:0": false, "LOCALHOST:0": false, "127.1:0": false, "2130706433:0": false, "mail.example.com:0": false,
	} {
		for _, flag := range []string{"--http", "--grpc"} {
			_, err := parse(t, flag, addr)
			if got := err == nil; got != fine {
				t.Errorf("%s %s: fine: %t: %v", flag, addr, got, err)
			}
			if _, err := parse(t, flag, addr, "--behind-proxy"); err != nil {
				t.Errorf("%s %s behind a proxy: %v", flag, addr, err)
			}
		}
	}
	for _, addr := range []string{"unix:/run/postern.sock", "/run/postern.sock", "127.0.0.1", "", "::1:80"} {
		if _, err := parse(t, "--http", addr, "--behind-proxy"); err == nil || !strings.Contains(err.Error(), "give HOST:PORT") {
			t.Errorf("%q: %v", addr, err)
		}
	}
	// What counts is what a name stands for in the end.
	n := &node{}
	defer n.close()
	listener, err := n.listen(t.Context(), &config{}, "http", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		t.Errorf("localhost is %s here", listener.Addr())
	}
	if _, err := n.listen(t.Context(), &config{}, "http", "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "without TLS beyond this machine") {
		t.Errorf("all interfaces: %v", err)
	}
}

func TestTransportSettingsRefused(t *testing.T) {
	t.Parallel()
	pair := []string{"--tls-cert", "c.pem", "--tls-key", "k.pem"}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"half of a certificate":         {[]string{"--tls-key", "x.pem"}, "go together"},
		"clients without TLS":           {[]string{"--tls-client-ca", "ca.pem"}, "over TLS only"},
		"unknown wish":                  {append(pair, "--tls-client-auth", "maybe"), "optional or require"},
		"required of nobody":            {append(pair, "--tls-client-auth", "require"), "say with --tls-client-ca"},
		"principals without an issuer":  {append(pair, "--principals", "p.yaml"), "say with --tls-client-ca"},
		"certificates that are useless": {append(pair, "--tls-client-ca", "ca.pem"), "say with --principals"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// guarded starts a process that asks clients for certificates.
func guarded(t *testing.T, ca *certtest.Authority, principals string, args ...string) (p *process, replace func(principals string)) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	certtest.Write(t, ca.Server(t), file("cert.pem"), file("key.pem"))
	replace = func(principals string) {
		if err := os.WriteFile(file("principals.yaml"), []byte(principals), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(principals)
	if err := os.WriteFile(file("ca.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return serveIn(t, t.TempDir(), append([]string{
		"--tls-cert", file("cert.pem"), "--tls-key", file("key.pem"), "--tls-client-ca", file("ca.pem"), "--principals", file("principals.yaml"),
	}, args...)...), replace
}

// reason is what an answer of the API was refused for, "" when it was not.
func reason(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return ""
	}
	var refused struct {
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&refused); err != nil || len(refused.Details) == 0 {
		t.Fatalf("status %d without an error in its form: %v", resp.StatusCode, err)
	}
	return refused.Details[0].Reason
}

func TestServeClientCertificates(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	const entry = "principals:\n- certificate: {uri: 'spiffe://example.com/app'}\n  name: app\n  scopes: [%s]\n"
	p, replace := guarded(t, ca, fmt.Sprintf(entry, "accounts:read, events:read"))
	app := ca.Workload(t, "spiffe://example.com/app")
	cfg := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{app}}
	client, conn := p.over(t, cfg).http, p.dial(t, cfg)
	get := func(client *http.Client, path string) string {
		t.Helper()
		resp, err := client.Get(p.base + path)
		if err != nil {
			t.Fatal(err)
		}
		return reason(t, resp)
	}
	if got := get(client, "/v1/accounts"); got != "" {
		t.Errorf("what the certificate is for: %s", got)
	}
	if err := listAccounts(t, conn, ""); err != nil {
		t.Error(err)
	}
	if got := get(client, "/v1/templates"); got != "SCOPE_MISSING" {
		t.Errorf("what it is not for: %q", got)
	}
	if got := get(p.over(t, &tls.Config{RootCAs: ca.Pool()}).http, "/v1/accounts"); got != "TOKEN_INVALID" {
		t.Errorf("nothing shown: %q", got)
	}
	if _, err := p.over(t, &tls.Config{RootCAs: ca.Pool()}).call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
		t.Errorf("a token, and no certificate: %v", err)
	}
	watch, err := client.Get(p.base + "/v1/events:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	if watch.StatusCode != http.StatusOK {
		t.Errorf("watch: %s", watch.Status)
	}
	// The same connections, once the file says something else.
	replace(fmt.Sprintf(entry, "templates:read"))
	await(t, "the new grant to be in force", func() bool { return get(client, "/v1/accounts") == "SCOPE_MISSING" })
	if got := get(client, "/v1/templates"); got != "" {
		t.Errorf("what it is for now: %s", got)
	}
	// What was open has ended, by then or soon.
	if rest, err := io.ReadAll(watch.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "stream error") {
		t.Errorf("the watch ended with %v after %q", err, rest)
	}
	replace("principals: []\n")
	await(t, "the caller to be nobody", func() bool { return get(client, "/v1/templates") == "TOKEN_INVALID" })
	if err := listAccounts(t, conn, ""); err == nil {
		t.Error("nobody may list accounts by gRPC")
	}
	p.stop(t)
	if !strings.Contains(p.stderr.String(), "principal=cert:app") {
		t.Error("the access log does not name the caller")
	}
}

func TestServeRequiresClientCertificates(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t)
	p, _ := guarded(t, ca, "principals: []\n", "--tls-client-auth", "require")
	expired := ca.Client(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(1) })
	server := ca.Server(t)
	stranger := certtest.New(t).Client(t, nil)
	known := ca.Client(t, nil)
	for name, c := range map[string]struct {
		pair  *tls.Certificate
		works bool
	}{
		"none": {nil, false}, "expired": {&expired, false}, "one for servers": {&server, false}, "a stranger's": {&stranger, false},
		"one of the authority": {&known, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := &tls.Config{RootCAs: ca.Pool()}
			if c.pair != nil {
				// Shown even where the server says that it would not be taken.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.pair, nil }
			}
			_, err := p.over(t, cfg).call(t.Context(), http.MethodGet, "/v1/accounts", nil)
			if works := err == nil; works != c.works {
				t.Errorf("REST works: %t: %v", works, err)
			}
			if err := listAccounts(t, p.dial(t, cfg), p.token); (err == nil) != c.works {
				t.Errorf("gRPC: %v", err)
			}
		})
	}
}
