package gateway

import (
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// A connection of gRPC on which nothing comes for pingAfter is asked whether it
	// lives, and has pingTimeout to answer.
	pingAfter   = time.Minute
	pingTimeout = 20 * time.Second
	// grpcIdle is for how long one is kept without a call. Clients of gRPC, which
	// keep theirs for half an hour, connect again unasked.
	grpcIdle = 15 * time.Minute
)

// grpcOptions are the limits that the gRPC server itself keeps. The limit of a
// message also holds for what it is once it is decompressed.
func (l *Limits) grpcOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(l.RequestBytes),
		grpc.MaxHeaderListSize(uint32(l.HeaderBytes)),
		grpc.MaxConcurrentStreams(uint32(l.StreamsPerConnection)),
		grpc.ConnectionTimeout(l.HeaderTimeout), // for TLS and the preface
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: grpcIdle, Time: pingAfter, Timeout: pingTimeout}),
		// A client that pings more often than this is faulty and is told to go.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: l.PingInterval, PermitWithoutStream: true}),
	}
}

// httpServer is a server that keeps the limits that are its own. The time for the
// header is that for the TLS handshake, too.
func (l *Limits) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: l.HeaderTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    l.HeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.StreamsPerConnection,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     l.StallTimeout,
		},
	}
}
