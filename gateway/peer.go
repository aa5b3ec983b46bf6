package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

type certificateKey struct{}

// withCertificate puts the client's certificate into the context of a call.
func withCertificate(ctx context.Context, certificate *x509.Certificate) context.Context {
	if certificate == nil {
		return ctx
	}
	return context.WithValue(ctx, certificateKey{}, certificate)
}

// certificateOf is the client's certificate, nil where it has shown none or the
// handshake has not verified it. HTTP requests carry it in their context, which
// in-process calls keep; a stream of the listener in memory would not have it, and
// be refused.
func certificateOf(ctx context.Context) *x509.Certificate {
	if certificate, ok := ctx.Value(certificateKey{}).(*x509.Certificate); ok {
		return certificate
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			return verified(&info.State)
		}
	}
	return nil
}

// verified is the certificate of a connection's client.
func verified(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}
