package gateway

import (
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// transportOf is what gRPC speaks: TLS with HTTP/2, or clear text.
func transportOf(cfg *tls.Config) credentials.TransportCredentials {
	if cfg == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(cfg)
}

// webListener puts TLS in front of the HTTP server, with the protocols that it
// speaks. A configuration that is made for a single connection may have others,
// such as that of a certificate authority that looks whose name this is.
func webListener(l net.Listener, cfg *tls.Config) net.Listener {
	if cfg == nil {
		return l
	}
	cfg = withProtocols(cfg, "h2", "http/1.1")
	if choose := cfg.GetConfigForClient; choose != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if err != nil || chosen == nil || len(chosen.NextProtos) > 0 {
				return chosen, err
			}
			return withProtocols(chosen, "h2", "http/1.1"), nil
		}
	}
	return tls.NewListener(l, cfg)
}

func withProtocols(cfg *tls.Config, protocols ...string) *tls.Config {
	cfg = cfg.Clone()
	cfg.NextProtos = protocols
	return cfg
}
