package selfsigned_test

import (
	"crypto/tls"
	"testing"

	"github.com/postern-mail/postern/internal/selfsigned"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	certificate, pool, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context())
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	for _, tt := range []struct {
		name    string
		config  *tls.Config
		trusted bool
	}{
		{"its own pool", &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}, true},
		{"by name", &tls.Config{RootCAs: pool, ServerName: "localhost"}, true},
		{"another name", &tls.Config{RootCAs: pool, ServerName: "mail.example.com"}, false},
		{"the pool of another", &tls.Config{RootCAs: stranger, ServerName: "127.0.0.1"}, false},
		{"the system's pool", &tls.Config{ServerName: "127.0.0.1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dialer := tls.Dialer{Config: tt.config}
			conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
			if err == nil {
				conn.Close()
			}
			if trusted := err == nil; trusted != tt.trusted {
				t.Errorf("trusted is %v: %v", trusted, err)
			}
		})
	}
}
