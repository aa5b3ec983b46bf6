package gateway

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestInProcess calls a service in the way of a generated client, with an
// interceptor that sees what it would see over the network.
func TestInProcess(t *testing.T) {
	t.Parallel()
	var seen []string
	var answer error
	conn := &inProcess{interceptor: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		seen = append(seen, info.FullMethod, req.(*healthpb.HealthCheckRequest).GetService())
		seen = append(seen, md.Get("authorization")...)
		if answer != nil {
			return nil, answer
		}
		return handler(ctx, req)
	}}
	healthpb.RegisterHealthServer(conn, health.NewServer())
	client := healthpb.NewHealthClient(conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x")

	resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	want := []string{"/grpc.health.v1.Health/Check", "", "Bearer x", "/grpc.health.v1.Health/Check", "other", "Bearer x"}
	if len(seen) != len(want) || seen[0] != want[0] || seen[2] != want[2] || seen[4] != want[4] {
		t.Errorf("the interceptor saw %q", seen)
	}

	for _, tt := range []struct {
		answer error
		code   codes.Code
	}{
		{refuse(codes.Aborted, reasonUIDValidityChanged, "x"), codes.Aborted},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{errors.New("secret of the house"), codes.Unknown},
	} {
		answer = tt.answer
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		s, ok := status.FromError(err)
		if !ok || s.Code() != tt.code || errors.Is(err, tt.answer) {
			t.Errorf("%v became %v", tt.answer, err)
		}
	}
	if err := conn.Invoke(ctx, "/no.Service/Method", nil, nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
	if err := conn.Invoke(ctx, "/grpc.health.v1.Health/Check", &healthpb.HealthCheckResponse{}, nil); status.Code(err) != codes.Internal {
		t.Errorf("a message of another type: %v", err)
	}
}
