package gateway_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/natsd"
)

// What the storage lacks shows in the health service, and tells a full disk from
// a server that is away.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	var failure atomic.Pointer[natsd.StorageError]
	h := newHouse(t, options{gateway: func(c *gateway.Config) {
		check := func() error {
			if err := failure.Load(); err != nil {
				return err
			}
			return nil
		}
		c.Storage, c.Ready = check, func(context.Context) error { return check() }
	}})
	health := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; {
			got, err := healthpb.NewHealthClient(h.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err == nil && got.GetStatus() == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("health is %v, %v, want %v", got, err, want)
			}
		}
	}
	created := h.do(t, http.MethodPost, "/v1/accounts", newAccount("ann@example.com")).ok(t)
	health(healthpb.HealthCheckResponse_SERVING)
	failure.Store(&natsd.StorageError{Dir: "data", Reason: "no space left on device", Full: true})
	health(healthpb.HealthCheckResponse_NOT_SERVING)
	h.do(t, http.MethodGet, "/readyz", nil).refused(t, 503, "STORE_UNAVAILABLE")
	h.get(t, "/v1/"+created["name"].(string))

	// A store that does not answer is full, or away.
	h.stopStorage()
	ctx, cancel := context.WithTimeout(asAdmin(t.Context()), 30*time.Second)
	defer cancel()
	client := posternv1.NewAccountServiceClient(h.grpc)
	pause := &posternv1.PauseAccountRequest{Name: created["name"].(string)}
	_, err := client.PauseAccount(ctx, pause)
	wantStatus(t, err, codes.ResourceExhausted, "STORE_FULL")
	h.do(t, http.MethodPost, "/v1/"+created["name"].(string)+":pause", object{}).refused(t, 429, "STORE_FULL")
	failure.Store(&natsd.StorageError{Dir: "data", Reason: "input/output error"})
	_, err = client.PauseAccount(ctx, pause)
	wantStatus(t, err, codes.Unavailable, "STORE_UNAVAILABLE")
	if _, err := client.GetAccount(ctx, &posternv1.GetAccountRequest{Name: created["name"].(string)}); err != nil {
		t.Errorf("an account cannot be read: %v", err)
	}
	failure.Store(nil)
	health(healthpb.HealthCheckResponse_SERVING)
}
