// Package gateway is the front door: the gRPC services, REST beside them, the
// event stream for browsers and scripts, and downloads.
//
// A request goes proto → gateway → account → imapconn → message → answer. The
// REST mux calls the services through a real client connection over an
// in-memory listener, so every interceptor applies to both. Two kinds of route
// are written by hand, because their bytes must reach the client as they are:
// downloads and server-sent events. They go through the same authentication,
// validation, service code and error model; see [Gateway] and calls.go.
//
// Packages below return typed errors of their own. Only errors.go knows which
// status they become.
package gateway
