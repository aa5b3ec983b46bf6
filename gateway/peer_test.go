package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/certtest"
)

// robots lets one client certificate in, by its name.
type robots struct{}

func (robots) Authenticate(_ context.Context, shown access.Credentials) (access.Principal, error) {
	switch {
	case shown.Certificate == nil || !shown.Token.IsZero():
		return access.Principal{}, access.ErrInvalid
	case len(shown.Certificate.DNSNames) != 1 || shown.Certificate.DNSNames[0] != "robot.example":
		return access.Principal{}, &access.InvalidError{Problem: "is a stranger's"}
	}
	return access.Principal{ID: "cert:robot", Grant: access.Everything()}, nil
}

// certified is a house that asks its clients for certificates.
func certified(t *testing.T) (*house, *certtest.Authority) {
	t.Helper()
	ca := certtest.New(t)
	h := newHouse(t, options{
		tls: &tls.Config{
			Certificates: []tls.Certificate{ca.Server(t)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool(),
		},
		roots:   ca.Pool(),
		gateway: func(cfg *gateway.Config) { cfg.Auth = access.AnyOf(cfg.Auth, robots{}) },
	})
	return h, ca
}

// as is the house as a client with a certificate sees it.
func (h *house) as(t *testing.T, ca *certtest.Authority, pair *tls.Certificate) *house {
	t.Helper()
	cfg := &tls.Config{RootCAs: ca.Pool()}
	if pair != nil {
		cfg.Certificates = []tls.Certificate{*pair}
	}
	conn, err := grpc.NewClient(h.grpc.Target(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	t.Cleanup(func() { _ = conn.Close(); transport.CloseIdleConnections() })
	other := *h
	other.grpc, other.client = conn, &http.Client{Transport: transport}
	return &other
}

// doors are the ways to the services: the mux, each kind of hand-written route,
// and both kinds of gRPC call. They say what came of it, "" when they were let in.
var doors = map[string]func(t *testing.T, h *house, authorization string) (reason string){
	"REST":            viaREST(http.MethodGet, "/v1/accounts"),
	"events":          viaREST(http.MethodGet, "/v1/events:watch"),
	"download":        viaREST(http.MethodGet, "/v1/accounts/none/messages/m:raw"),
	"an attachment":   viaREST(http.MethodGet, "/v1/accounts/none/messages/m/attachments/1:download"),
	"import":          viaREST(http.MethodPost, "/v1/accounts/none/messages:import?folder=accounts/none/folders/f"),
	"upload":          viaREST(http.MethodPost, "/v1/accounts/none/uploads"),
	"a call by gRPC":  viaCall,
	"a watch by gRPC": viaWatch,
}

func viaREST(method, path string) func(t *testing.T, h *house, authorization string) string {
	return func(t *testing.T, h *house, authorization string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			return "TOKEN_INVALID"
		}
		return ""
	}
}

func viaCall(t *testing.T, h *house, authorization string) string {
	t.Helper()
	_, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(withHeader(t.Context(), authorization), &posternv1.ListAccountsRequest{})
	return refusal(t, err)
}

func viaWatch(t *testing.T, h *house, authorization string) string {
	t.Helper()
	stream, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(withHeader(t.Context(), authorization), &posternv1.WatchEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	return refusal(t, err)
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	h, ca := certified(t)
	pair := func(name string, issuer *certtest.Authority) *tls.Certificate {
		c := issuer.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{name} })
		return &c
	}
	for name, c := range map[string]struct {
		client        *house
		authorization string
		reason        string
	}{
		"known certificate":                 {h.as(t, ca, pair("robot.example", ca)), "", ""},
		"unknown certificate":               {h.as(t, ca, pair("other.example", ca)), "", "TOKEN_INVALID"},
		"no certificate":                    {h.as(t, ca, nil), "", "TOKEN_INVALID"},
		"a token":                           {h.as(t, ca, nil), "Bearer " + token, ""},
		"a token beside an unknown one":     {h.as(t, ca, pair("other.example", ca)), "Bearer " + token, ""},
		"a wrong token beside a known one":  {h.as(t, ca, pair("robot.example", ca)), "Bearer wrong", "TOKEN_INVALID"},
		"an empty token beside a known one": {h.as(t, ca, pair("robot.example", ca)), "Bearer ", "TOKEN_INVALID"},
		"another scheme beside a known one": {h.as(t, ca, pair("robot.example", ca)), "Basic eDp5", "TOKEN_INVALID"},
	} {
		for door, enter := range doors {
			t.Run(name+" "+door, func(t *testing.T) {
				t.Parallel()
				if got := enter(t, c.client, c.authorization); got != c.reason {
					t.Errorf("answers %q, want %q", got, c.reason)
				}
			})
		}
	}
	stranger := certtest.New(t) // of the same name
	resp, err := h.as(t, ca, pair("robot.example", stranger)).client.Get(h.base + "/readyz")
	if err == nil {
		_ = resp.Body.Close()
		t.Error("the certificate of another authority is taken")
	}
}

// The ticket of a certificate stands for the certificate, in the hands of a
// browser that has none.
func TestTicketOfACertificate(t *testing.T) {
	t.Parallel()
	h, ca := certified(t)
	robot := ca.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"robot.example"} })
	owner, browser := h.as(t, ca, &robot), h.as(t, ca, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base+"/v1/events:ticket", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := owner.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ticket, _ := readAnswer(t, resp).ok(t)["ticket"].(string)
	watch := browser.bare(t, "/v1/events:watch?ticket="+ticket)
	if watch.StatusCode != http.StatusOK {
		t.Fatalf("status %d", watch.StatusCode)
	}
	back := browser.bare(t, "/v1/events:watch?ticket="+ticket, "Last-Event-ID", firstID(t, watch))
	if back.StatusCode != http.StatusOK {
		t.Errorf("coming back: status %d", back.StatusCode)
	}
	if other := browser.bare(t, "/v1/accounts?ticket="+ticket); other.StatusCode == http.StatusOK {
		t.Error("the ticket lets in elsewhere")
	}
}

func withHeader(ctx context.Context, authorization string) context.Context {
	if authorization == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", authorization)
}

// refusal is the reason of an error that is about who calls.
func refusal(t *testing.T, err error) string {
	t.Helper()
	if s := status.Convert(err); s.Code() == codes.Unauthenticated {
		return reasonOf(s)
	}
	return ""
}

func readAnswer(t *testing.T, resp *http.Response) answer {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: body}
}
