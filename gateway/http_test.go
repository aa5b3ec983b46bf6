package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/selfsigned"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, path := range []string{
		"/v1/accounts", "/v1/accounts/a", "/v1/accounts/a/folders", "/v1/accounts/a/messages", "/v1/accounts/a/messages/m:raw",
		"/v1/accounts/a/messages/m/attachments/1:download", "/v1/events:watch", "/v1/events:cursor", "/v1/accounts/-/events",
	} {
		for name, header := range map[string]string{
			"none": "", "wrong": "Bearer " + token + "x", "other scheme": "Basic " + token, "empty": "Bearer ", "not ASCII": "Bearer ü",
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				t.Parallel()
				a := h.do(t, http.MethodGet, path, nil, "Authorization", header)
				a.refused(t, 401, "TOKEN_INVALID")
				if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="postern"` {
					t.Errorf("WWW-Authenticate: %s", got)
				}
			})
		}
	}
	accounts := posternv1.NewAccountServiceClient(h.grpc)
	_, err := accounts.ListAccounts(t.Context(), &posternv1.ListAccountsRequest{})
	wantStatus(t, err, codes.Unauthenticated, "TOKEN_INVALID")
	_, err = accounts.ListAccounts(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer wrong"), &posternv1.ListAccountsRequest{})
	wantStatus(t, err, codes.Unauthenticated, "TOKEN_INVALID")
	stream, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(t.Context(), &posternv1.WatchEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantStatus(t, err, codes.Unauthenticated, "TOKEN_INVALID")
	if strings.Contains(h.logged.String(), token) {
		t.Error("the token is in the log")
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, tt := range []struct {
		name, method, path string
		status             int
		reason             string
	}{
		{"no such route", "GET", "/v1/nothing", 404, "ROUTE_NOT_FOUND"},
		{"no such version", "GET", "/v2/accounts", 404, "ROUTE_NOT_FOUND"},
		{"wrong method", "PUT", "/v1/accounts", 405, "METHOD_NOT_ALLOWED"},
		{"wrong method on a hand-written route", "POST", "/v1/events:watch", 405, "METHOD_NOT_ALLOWED"},
		{"wrong method beside the API", "POST", "/healthz", 405, "METHOD_NOT_ALLOWED"},
		{"method override", "POST", "/v1/accounts/a", 405, "METHOD_NOT_ALLOWED"},
		{"misspelt parameter", "GET", "/v1/accounts?pageSiez=5", 400, "ARGUMENT_INVALID"},
		{"parameter of another call", "GET", "/v1/accounts/a?filter=x", 400, "ARGUMENT_INVALID"},
		{"parameter beside a body", "POST", "/v1/accounts/a:verify?name=x", 400, "ARGUMENT_INVALID"},
		{"misspelt parameter of a watch", "GET", "/v1/events:watch?account=a", 400, "ARGUMENT_INVALID"},
		{"parameter of a download", "GET", "/v1/accounts/a/messages/m:raw?x=1", 400, "ARGUMENT_INVALID"},
		{"not a number", "GET", "/v1/accounts?pageSize=many", 400, "ARGUMENT_INVALID"},
		{"no such view", "GET", "/v1/accounts/a/messages?view=EVERYTHING", 400, "ARGUMENT_INVALID"},
		{"both forms of a parameter", "GET", "/v1/accounts?page_size=1&pageToken=x", 400, "PAGE_TOKEN_MISMATCH"},
		{"parameter that is not UTF-8", "GET", "/v1/accounts?filter=%ff", 400, "ARGUMENT_INVALID"},
		{"name that is not UTF-8", "GET", "/v1/accounts/%ff", 400, "ARGUMENT_INVALID"},
		{"path in a name", "GET", "/v1/accounts/a%2Fb", 404, "ROUTE_NOT_FOUND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := h.do(t, tt.method, tt.path, nil, "X-HTTP-Method-Override", "DELETE")
			a.refused(t, tt.status, tt.reason)
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: %s", got)
			}
		})
	}
}

// A 405 says what the path takes (RFC 9110 section 15.5.6).
func TestAllow(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, tt := range []struct{ method, path, allow string }{
		{"PUT", "/v1/accounts", "GET, HEAD, POST"},
		{"POST", "/v1/accounts/a/messages/m", "DELETE, GET, HEAD, PATCH"},
		{"PUT", "/v1/accounts/a:pause", "DELETE, GET, HEAD, PATCH, POST"},
		{"POST", "/v1/accounts/a:nothing", "DELETE, GET, HEAD, PATCH"},
		{"DELETE", "/v1/accounts/a/messages:import", "POST"},
		{"POST", "/v1/accounts/a/messages/m/attachments/2:download", "GET, HEAD"},
		{"POST", "/v1/events:watch", "GET"},
		{"POST", "/readyz", "GET, HEAD"},
	} {
		a := h.do(t, tt.method, tt.path, nil)
		a.refused(t, 405, "METHOD_NOT_ALLOWED")
		if got := a.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow: %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

// Every generated route refuses parameters that it does not have, which shows
// that the names of routes and of annotations agree.
func TestEveryRouteKnowsItsParameters(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, path := range []string{
		"GET /v1/accounts", "POST /v1/accounts", "GET /v1/accounts/a", "PATCH /v1/accounts/a", "DELETE /v1/accounts/a",
		"POST /v1/accounts/a:verify", "POST /v1/accounts:discover", "GET /v1/accounts/a/folders", "GET /v1/accounts/a/folders/f", "GET /v1/accounts/a/messages",
		"GET /v1/accounts/a/messages/m", "GET /v1/accounts/a/events", "GET /v1/events:cursor",
	} {
		method, route, _ := strings.Cut(path, " ")
		a := h.do(t, method, route+"?noSuchParameter=1", nil)
		a.refused(t, 400, "ARGUMENT_INVALID")
		if !strings.Contains(string(a.body), "noSuchParameter") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestLargeBody(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	large := `{"displayName":"` + strings.Repeat("x", 5<<20) + `"}`
	h.do(t, http.MethodPost, "/v1/accounts", large).refused(t, 413, "REQUEST_TOO_LARGE")
	// Without a Content-Length it is noticed on the way.
	h.do(t, http.MethodPost, "/v1/accounts", io.MultiReader(strings.NewReader(large))).refused(t, 413, "REQUEST_TOO_LARGE")
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	id := "given-" + freshID()
	if got := h.do(t, http.MethodGet, "/v1/accounts", nil, "X-Request-Id", id).header.Get("X-Request-Id"); got != id {
		t.Errorf("the id %q came back as %q", id, got)
	}
	if got := h.do(t, http.MethodGet, "/v1/accounts", nil, "X-Request-Id", "a b\t").header.Get("X-Request-Id"); len(got) < 20 {
		t.Errorf("an unfit id came back as %q", got)
	}
	if !strings.Contains(h.logged.String(), "request_id="+id) {
		t.Error("the id is not in the access log")
	}
	secretQuery := "needle" + freshID()
	h.do(t, http.MethodGet, "/v1/accounts"+values("filter", "labels.a="+secretQuery), nil)
	if strings.Contains(h.logged.String(), secretQuery) {
		t.Error("the query is in the access log")
	}
	var header metadata.MD
	_, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asAdmin(t.Context()), &posternv1.ListAccountsRequest{}, grpc.Header(&header))
	if err != nil || len(header.Get("x-request-id")) != 1 {
		t.Errorf("gRPC header %v, %v", header, err)
	}
}

func TestBesideTheAPI(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for path, want := range map[string]struct{ contentType, content string }{
		"/healthz":           {"text/plain", "ok"},
		"/readyz":            {"text/plain", "ok"},
		"/openapi.json":      {"application/json", `"/v1/events:watch"`},
		"/docs":              {"text/html", "reference.js"},
		"/docs/reference.js": {"text/javascript", "openapi.json"},
		"/docs/style.css":    {"text/css", "body"},
		"/":                  {"text/html", "reference.js"},
	} {
		a := h.do(t, http.MethodGet, path, nil, "Authorization", "")
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), want.contentType) || !strings.Contains(string(a.body), want.content) {
			t.Errorf("%s: %d %s %.200s", path, a.status, a.header.Get("Content-Type"), a.body)
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", path)
		}
	}
	if csp := h.do(t, http.MethodGet, "/docs", nil).header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("the reference page may load from anywhere: %q", csp)
	}
}

func TestHealthAndReflection(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, service := range []string{"", "postern.v1.MessageService"} {
		got, err := healthpb.NewHealthClient(h.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(h.grpc).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil || !strings.Contains(got.String(), "postern.v1.EventService") {
		t.Errorf("reflection: %v, %v", got, err)
	}
}

// What there is not is refused in the form of all errors, over gRPC too.
func TestUnknownMethod(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, method := range []string{"/postern.v1.AccountService/Nothing", "/postern.v1.NothingService/Get"} {
		err := h.grpc.Invoke(asAdmin(t.Context()), method, &posternv1.GetAccountRequest{}, &posternv1.Account{})
		wantStatus(t, err, codes.Unimplemented, "METHOD_NOT_ALLOWED")
		err = h.grpc.Invoke(t.Context(), method, &posternv1.GetAccountRequest{}, &posternv1.Account{})
		wantStatus(t, err, codes.Unauthenticated, "TOKEN_INVALID")
	}
}

// panicking stands for any fault in the service code.
type panicking struct{}

func (panicking) Authenticate(context.Context, access.Credentials) (access.Principal, error) {
	panic("kaboom")
}

func TestPanic(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{gateway: func(c *gateway.Config) { c.Auth = panicking{} }})
	for _, path := range []string{"/v1/accounts", "/v1/accounts/a/messages/m:raw"} {
		info := h.do(t, http.MethodGet, path, nil).refused(t, 500, "INTERNAL")
		id, _ := info["metadata"].(object)["id"].(string)
		if id == "" || !strings.Contains(h.logged.String(), id) {
			t.Errorf("%s: the id %q is not in the log", path, id)
		}
	}
	_, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asAdmin(t.Context()), &posternv1.ListAccountsRequest{})
	if s := wantStatus(t, err, codes.Internal, "INTERNAL"); strings.Contains(s.Message(), "kaboom") {
		t.Errorf("the client reads %s", s.Message())
	}
	if !strings.Contains(h.logged.String(), "kaboom") {
		t.Error("the panic is not in the log")
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	ready := make(chan error, 1)
	ready <- nil
	h := newHouse(t, options{gateway: func(c *gateway.Config) {
		c.Ready = func(context.Context) error {
			select {
			case err := <-ready:
				return err
			default:
				return errors.New("the disk is full")
			}
		}
	}})
	a := h.do(t, http.MethodGet, "/readyz", nil)
	a.refused(t, 503, "STORE_UNAVAILABLE")
	if !strings.Contains(string(a.body), "the disk is full") {
		t.Errorf("%s", a.body)
	}
}

// A stop is orderly: what is under way finishes, and Run returns nil.
func TestShutdown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	resp := h.send(t, http.MethodGet, "/v1/events:watch", nil)
	defer resp.Body.Close()
	h.stop()
	content, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(content), "event: draining") {
		t.Errorf("a watch ended with %v after %s", err, content)
	}
	select {
	case err := <-h.stopped:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
	if resp, err := http.Get(h.base + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("the listener is still open")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, roots, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, options{tls: &tls.Config{Certificates: []tls.Certificate{certificate}}, roots: roots})
	resp := h.send(t, http.MethodGet, "/v1/accounts", nil)
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
	_, err = posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asAdmin(t.Context()), &posternv1.ListAccountsRequest{})
	if err != nil {
		t.Error(err)
	}
}
