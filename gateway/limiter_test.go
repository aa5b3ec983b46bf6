package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// anyName takes every token "name-…" for that of somebody of that name, who may do
// everything, beside the admin's.
type anyName struct{ access.Authenticator }

func (a anyName) Authenticate(ctx context.Context, shown access.Credentials) (access.Principal, error) {
	if name, ok := strings.CutPrefix(shown.Token.Reveal(), "name-"); ok {
		return access.Principal{ID: name, Grant: access.Everything()}, nil
	}
	return a.Authenticator.Authenticate(ctx, shown)
}

// limitedHouse is a house whose limits a test sets, where any name may call.
func limitedHouse(t *testing.T, change func(*gateway.Limits)) *house {
	t.Helper()
	return newHouse(t, options{gateway: func(cfg *gateway.Config) {
		cfg.Auth = anyName{cfg.Auth}
		change(cfg.Limits)
	}})
}

func named(name string) (header, value string) { return "Authorization", "Bearer name-" + name }

func asNamed(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer name-"+name)
}

// rateLimited checks the form of a refusal by REST: which limit, and when to come
// back.
func (a answer) rateLimited(t *testing.T, limit string) {
	t.Helper()
	info := a.refused(t, http.StatusTooManyRequests, "RATE_LIMITED")
	if got := info["metadata"].(object)["limit"]; got != limit {
		t.Errorf("the limit is %v, want %s", got, limit)
	}
	if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "RetryInfo") {
		t.Errorf("nothing says when to come back: %v %s", a.header, a.body)
	}
}

// soonLimited checks that a call is limited, at once or, since a second that has passed
// meanwhile allows one more, after a few.
func soonLimited(t *testing.T, limit string, call func() answer) {
	t.Helper()
	a := call()
	for range 9 {
		if a.status == http.StatusTooManyRequests {
			break
		}
		a = call()
	}
	a.rateLimited(t, limit)
}

// soonLimitedByGRPC is soonLimited by gRPC.
func soonLimitedByGRPC(t *testing.T, limit string, call func() error) {
	t.Helper()
	err := call()
	for range 9 {
		if status.Code(err) == codes.ResourceExhausted {
			break
		}
		err = call()
	}
	wantLimited(t, err, limit)
}

// wantLimited is rateLimited by gRPC.
func wantLimited(t *testing.T, err error, limit string) {
	t.Helper()
	wantStatus(t, err, codes.ResourceExhausted, "RATE_LIMITED")
	if got := errorInfo(status.Convert(err))["limit"]; got != limit {
		t.Errorf("the limit is %q, want %s", got, limit)
	}
	for _, d := range status.Convert(err).Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			return
		}
	}
	t.Errorf("nothing says when to come back: %v", err)
}

// Who calls too often is told so by REST and gRPC alike, and by no matter which of
// the two the calls were made. Others are not.
func TestRatePerToken(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.RatePerToken = 1 }) // and two at once
	accounts := posternv1.NewAccountServiceClient(h.grpc)
	list := func(name string) error {
		_, err := accounts.ListAccounts(asNamed(t.Context(), name), &posternv1.ListAccountsRequest{})
		return err
	}
	header, value := named("ann")
	refused := func() answer {
		for range 1000 {
			if a := h.do(t, http.MethodGet, "/v1/accounts", nil, header, value); a.status != http.StatusOK {
				return a
			}
		}
		t.Fatal("1000 calls were taken")
		return answer{}
	}
	refused().rateLimited(t, "rate-per-token")
	wantLimited(t, list("ann"), "rate-per-token")
	if err := list("bob"); err != nil {
		t.Errorf("another token: %v", err)
	}
	// Also what cannot be carried out is counted, and not read.
	h.do(t, http.MethodPost, "/v1/accounts", strings.Repeat("[", 1000), header, value).rateLimited(t, "rate-per-token")
	h.do(t, http.MethodGet, "/v1/nothing", nil, header, value).rateLimited(t, "rate-per-token")
	if n := strings.Count(h.logged.String(), "a limit is reached"); n != 1 {
		t.Errorf("the log tells %d times of it, want once", n)
	}
	if strings.Contains(h.logged.String(), "RATE_LIMITED") {
		t.Error("each refusal is a line of the log")
	}
	h.until(t, "/v1/accounts", func(answer) bool {
		return h.do(t, http.MethodGet, "/v1/accounts", nil, header, value).status == http.StatusOK
	})
}

// A call about an account counts for it and the token together, however it is named;
// an account that is not there is just that.
func TestRatePerAccount(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.RatePerAccount = 1 }) // and four at once
	one, other := h.demo(t), h.demo(t)
	header, value := named("ann")
	get := func(path string) answer { return h.do(t, http.MethodGet, path, nil, header, value) }
	for _, path := range []string{"", "/folders", "/messages/m", "/messages/m:raw", "/events"} {
		soonLimited(t, "rate-per-account", func() answer { return get("/v1/" + one + path) })
	}
	soonLimited(t, "rate-per-account", func() answer {
		return h.do(t, http.MethodPatch, "/v1/"+one, object{"displayName": "x"}, header, value)
	})
	soonLimited(t, "rate-per-account", func() answer {
		return h.do(t, http.MethodPost, "/v1/"+one+"/messages:import?folder="+one+"/folders/f", "Subject: a\r\n\r\n", header, value, "Content-Type", "message/rfc822")
	})
	messages := posternv1.NewMessageServiceClient(h.grpc)
	soonLimitedByGRPC(t, "rate-per-account", func() error {
		_, err := messages.UpdateMessage(asNamed(t.Context(), "ann"), &posternv1.UpdateMessageRequest{
			Message: &posternv1.Message{Name: one + "/messages/m"},
		})
		return err
	})
	soonLimitedByGRPC(t, "rate-per-account", func() error {
		stream, err := messages.DownloadMessage(asNamed(t.Context(), "ann"), &posternv1.DownloadMessageRequest{Name: one + "/messages/m"})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	})

	get("/v1/" + other).ok(t)
	header, value = named("bob")
	get("/v1/" + one).ok(t)
	for range 10 {
		get("/v1/accounts/nobody").refused(t, http.StatusNotFound, "ACCOUNT_NOT_FOUND")
	}
}

// A flood of requests without a valid token is bounded by address, and does not keep
// out whoever has one.
func TestRateUnauthenticated(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.RateUnauthenticated = 1 }) // and ten at once
	wrong := func(token string) answer {
		return h.do(t, http.MethodGet, "/v1/accounts", nil, "Authorization", "Bearer "+token)
	}
	for i := 0; ; i++ {
		if a := wrong(fmt.Sprint("wrong", i)); a.status != http.StatusUnauthorized {
			a.rateLimited(t, "rate-unauthenticated")
			break
		}
	}
	header, value := named("ann")
	h.do(t, http.MethodGet, "/v1/accounts", nil, header, value).ok(t)
	for _, path := range []string{"/openapi.json", "/v1/events:watch?ticket=x"} {
		soonLimited(t, "rate-unauthenticated", func() answer { return h.do(t, http.MethodGet, path, nil, "Authorization", "") })
	}
	// Whoever looks after the node is answered.
	if a := h.do(t, http.MethodGet, "/readyz", nil, "Authorization", ""); a.status != http.StatusOK {
		t.Errorf("/readyz: %d", a.status)
	}
	_, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asNamed(t.Context(), ""), &posternv1.ListAccountsRequest{})
	if err != nil {
		t.Errorf("a valid token: %v", err)
	}
	_, err = posternv1.NewAccountServiceClient(h.grpc).ListAccounts(t.Context(), &posternv1.ListAccountsRequest{})
	wantLimited(t, err, "rate-unauthenticated")
	_, err = healthpb.NewHealthClient(h.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{})
	wantLimited(t, err, "rate-unauthenticated")
}

// Behind a proxy its own address is no client's: what trusted ones say counts, and
// without any none does.
func TestAddressesBehindProxies(t *testing.T) {
	t.Parallel()
	from := func(h *house, address string) answer {
		return h.do(t, http.MethodGet, "/v1/accounts", nil, "Authorization", "Bearer wrong", "X-Forwarded-For", "192.0.2.9, "+address)
	}
	proxied := limitedHouse(t, func(l *gateway.Limits) {
		l.RateUnauthenticated, l.TrustedProxies, l.AddressesHidden = 1, networks("127.0.0.0/8"), true
	})
	for a := from(proxied, "192.0.2.1"); ; a = from(proxied, "192.0.2.1") {
		if a.status != http.StatusUnauthorized {
			a.rateLimited(t, "rate-unauthenticated")
			break
		}
	}
	from(proxied, "192.0.2.2").refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	hidden := limitedHouse(t, func(l *gateway.Limits) { l.RateUnauthenticated, l.AddressesHidden = 1, true })
	for range 50 {
		from(hidden, "192.0.2.1").refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	}
}

// Calls at a time are counted from their beginning to their end, whatever that is.
func TestConcurrentPerToken(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.ConcurrentPerToken, l.StreamsPerToken = 1, 2 })
	header, value := named("ann")
	// A call whose body does not come is under way.
	body, write := io.Pipe()
	slow := make(chan int, 1)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base+"/v1/accounts", body)
		req.Header.Set(header, value)
		resp, err := h.client.Do(req)
		if err != nil {
			slow <- 0
			return
		}
		_ = resp.Body.Close()
		slow <- resp.StatusCode
	}()
	if _, err := write.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	ask := func() answer { return h.do(t, http.MethodGet, "/v1/accounts", nil, header, value) }
	h.until(t, "/healthz", func(answer) bool { return ask().status == http.StatusTooManyRequests })
	ask().rateLimited(t, "concurrent-per-token")
	_, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asNamed(t.Context(), "ann"), &posternv1.ListAccountsRequest{})
	wantLimited(t, err, "concurrent-per-token")
	other, otherValue := named("bob")
	h.do(t, http.MethodGet, "/v1/accounts", nil, other, otherValue).ok(t)
	_ = write.Close()
	if got := <-slow; got != http.StatusBadRequest {
		t.Errorf("the slow call: %d", got)
	}
	h.until(t, "/healthz", func(answer) bool { return ask().status == http.StatusOK })
}

// Streams are counted apart, over both protocols together, and their places come
// back.
func TestStreamsPerToken(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.StreamsPerToken = 2 })
	header, value := named("ann")
	first := h.send(t, http.MethodGet, "/v1/events:watch", nil, header, value)
	defer first.Body.Close()
	events := posternv1.NewEventServiceClient(h.grpc)
	ctx, leave := context.WithCancel(asNamed(t.Context(), "ann"))
	defer leave()
	second, err := events.WatchEvents(ctx, &posternv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recv(); err != nil {
		t.Fatal(err)
	}
	watch := func() answer { return h.do(t, http.MethodGet, "/v1/events:watch?cursor=nonsense", nil, header, value) }
	watch().rateLimited(t, "streams-per-token")
	third, err := events.WatchEvents(asNamed(t.Context(), "ann"), &posternv1.WatchEventsRequest{})
	if err == nil {
		_, err = third.Recv()
	}
	wantLimited(t, err, "streams-per-token")
	h.do(t, http.MethodGet, "/v1/accounts", nil, header, value).ok(t)
	leave()
	h.until(t, "/healthz", func(answer) bool { return watch().status == http.StatusBadRequest })
	if err := first.Body.Close(); err != nil {
		t.Fatal(err)
	}
	// Both places are free: two ticketed watches take them.
	ticket := h.do(t, http.MethodPost, "/v1/events:ticket", object{}, header, value).ok(t)["ticket"].(string)
	for range 2 {
		h.until(t, "/healthz", func(answer) bool {
			return h.bare(t, "/v1/events:watch"+values("ticket", ticket)).StatusCode == http.StatusOK
		})
	}
	watch().rateLimited(t, "streams-per-token")
}

// Streams that need no token are bounded by address.
func TestStreamsWithoutAToken(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.StreamsPerConnection = 1000 })
	health := healthpb.NewHealthClient(h.grpc)
	var limited error
	for range 200 {
		stream, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			limited = err
			break
		}
	}
	wantLimited(t, limited, "streams-per-token")
}

// All places come back, whatever became of the calls that held them.
func TestPlacesComeBack(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.ConcurrentPerToken = 4 })
	accounts := posternv1.NewAccountServiceClient(h.grpc)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(asNamed(t.Context(), "ann"), time.Duration(i)*50*time.Microsecond)
			defer cancel()
			_, _ = accounts.ListAccounts(ctx, &posternv1.ListAccountsRequest{PageSize: int32(i - 100)})
			_, _ = accounts.GetAccount(ctx, &posternv1.GetAccountRequest{Name: "accounts/nobody"})
		})
	}
	all.Wait()
	h.until(t, "/healthz", func(answer) bool {
		begun := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := accounts.ListAccounts(asNamed(t.Context(), "ann"), &posternv1.ListAccountsRequest{})
				begun <- err
			}()
		}
		ok := true
		for range 4 {
			ok = <-begun == nil && ok
		}
		return ok
	})
}

// There are no more accounts, webhooks and templates than there may be; a repeated
// call is still answered with what the first one made.
func TestHowManyThereMayBe(t *testing.T) {
	t.Parallel()
	h, down, err := build(t.TempDir(), options{most: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(down)
	for _, kind := range []struct {
		path string
		body object
		name string
	}{
		{"/v1/accounts", object{"email": "ann@example.com", "imap": object{"host": "127.0.0.1", "port": 1, "tlsMode": "PLAINTEXT", "username": "a", "password": "b"}}, "max-accounts"},
		{"/v1/webhooks", object{"url": "https://example.com/", "types": []string{"message.created"}}, "max-webhooks"},
		{"/v1/templates", object{"text": "Hello"}, "max-templates"},
	} {
		create := func(key string) answer { return h.do(t, http.MethodPost, kind.path, kind.body, "Idempotency-Key", key) }
		first := create("1").ok(t)["name"]
		create("2").ok(t)
		a := create("3")
		info := a.refused(t, http.StatusTooManyRequests, "LIMIT_REACHED")
		if metadata := info["metadata"].(object); metadata["limit"] != kind.name || metadata["value"] != "2" {
			t.Errorf("%s: told %v", kind.path, metadata)
		}
		if a.header.Get("Retry-After") != "" {
			t.Errorf("%s: it says to come back, which is of no use", kind.path)
		}
		if again := create("1").ok(t)["name"]; again != first {
			t.Errorf("%s: the repeated call gave %v, want %v", kind.path, again, first)
		}
		h.do(t, http.MethodDelete, "/v1/"+first.(string), nil).ok(t)
		create("4").ok(t)
	}
}
