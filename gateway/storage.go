package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/natsd"
)

// explain tells a full disk from other troubles of the storage: a server that
// cannot store does not answer, and only its embedder knows why.
func (c *calls) explain(f *failure) *failure {
	if f.reason != reasonStoreUnavailable || c.storage == nil {
		return f
	}
	if failed, ok := errors.AsType[*natsd.StorageError](c.storage()); !ok || !failed.Full {
		return f
	}
	return storeFull().because(f)
}

// keeping are the services that keep in Postern's storage what they are given.
// What changes mailboxes alone goes on while that is full.
var keeping = map[string]bool{
	posternv1.AccountService_ServiceDesc.ServiceName:    true,
	posternv1.SubmissionService_ServiceDesc.ServiceName: true,
	posternv1.WebhookService_ServiceDesc.ServiceName:    true,
	posternv1.BlockService_ServiceDesc.ServiceName:      true,
	posternv1.TemplateService_ServiceDesc.ServiceName:   true,
}

// room refuses at once what would have to be stored on a full disk: the server
// would let it wait for its time-out.
func (c *calls) room(method string) error {
	service, verb, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if c.storage == nil || !keeping[service] {
		return nil
	}
	for _, reading := range []string{"Get", "List", "Verify", "Discover"} {
		if strings.HasPrefix(verb, reading) {
			return nil
		}
	}
	if failed, ok := errors.AsType[*natsd.StorageError](c.storage()); ok && failed.Full {
		return storeFull().because(failed)
	}
	return nil
}

// Error codes of NATS servers that have no more room for what a stream is given.
const (
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeStorageExceeded       jetstream.ErrorCode = 10047
)

// isStoreFull reports whether a server refuses to store for want of space.
func isStoreFull(err *jetstream.APIError) bool {
	return err.ErrorCode == codeInsufficientResources || err.ErrorCode == codeStorageExceeded ||
		strings.Contains(err.Description, "no space left")
}

func storeFull() *failure {
	return refuse(codes.ResourceExhausted, reasonStoreFull,
		"Postern's own storage is full, so nothing can be changed; reading goes on. The operator has to free space.").
		retryAfter(unavailableRetry)
}

const (
	// healthPace is how often what the gateway stands on is looked at for those
	// who ask the health service, and healthTimeout how long that may take.
	healthPace    = 2 * time.Second
	healthTimeout = 3 * time.Second
)

// watchHealth lets the health service say what GET /readyz says, until ctx ends.
func (g *Gateway) watchHealth(ctx context.Context) {
	if g.cfg.Ready == nil {
		return
	}
	ready := true
	tick := time.NewTicker(healthPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked, cancel := context.WithTimeout(ctx, healthTimeout)
		err := g.cfg.Ready(asked)
		cancel()
		if ctx.Err() != nil || (err == nil) == ready {
			continue
		}
		ready = err == nil
		if ready {
			g.cfg.Log.InfoContext(ctx, "ready again")
			g.setHealth(healthpb.HealthCheckResponse_SERVING)
		} else {
			g.cfg.Log.WarnContext(ctx, "not ready", "error", err)
			g.setHealth(healthpb.HealthCheckResponse_NOT_SERVING)
		}
	}
}
