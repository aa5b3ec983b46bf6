package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// secureFrames begins HTTP/2 over TLS, as it is negotiated with the HTTP listener.
func secureFrames(t *testing.T, addr string, roots *x509.CertPool) *frames {
	t.Helper()
	return openFrames(t, secureConn(t, addr, roots, "h2"))
}

// secureConn opens a connection whose other end is told to wait soon, where nothing is
// read.
func secureConn(t *testing.T, addr string, roots *x509.CertPool, protocol string) *tls.Conn {
	t.Helper()
	raw := dial(t, addr)
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{protocol}})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// get encodes a request of the REST API.
func get(t *testing.T, path, token string) []byte {
	return header(t, ":method", "GET", ":scheme", "https", ":path", path, ":authority", "x", "authorization", "Bearer "+token)
}

// Requests of HTTP that are reset as soon as they are made (CVE-2023-44487) count like
// all others, with a token or without, and others are served meanwhile.
func TestRapidResetOverHTTP(t *testing.T) {
	t.Parallel()
	server, roots := secured(t)
	for limit, key := range map[string]string{"rate-per-token": "name-flood", "rate-unauthenticated": "wrong"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, options{tls: server, roots: roots, gateway: func(cfg *gateway.Config) {
				cfg.Auth = anyName{cfg.Auth}
				cfg.Limits.RatePerToken, cfg.Limits.RateUnauthenticated = 10, 10
			}})
			f := secureFrames(t, h.addr(), roots)
			block := get(t, "/v1/accounts", key)
			ann, value := named("ann")
			var err error
			for i := uint32(0); i < 10_000 && err == nil; i++ {
				err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
				if err == nil {
					err = f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
				}
				if i%1000 == 0 {
					h.do(t, http.MethodGet, "/v1/accounts", nil, ann, value).ok(t)
				}
			}
			h.until(t, "/healthz", func(answer) bool { return strings.Contains(h.logged.String(), "limit="+limit) })
		})
	}
}

// stuck is an authenticator that does not come back to those who are called so: a call
// that cannot be interrupted.
type stuck struct {
	access.Authenticator
	release chan struct{}

	mu            sync.Mutex
	running, most int
}

func (s *stuck) Authenticate(ctx context.Context, shown access.Credentials) (access.Principal, error) {
	if shown.Token.Reveal() != "stuck" {
		return s.Authenticator.Authenticate(ctx, shown)
	}
	s.mu.Lock()
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	<-s.release
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	return access.Principal{}, nil
}

// Without any rate, and with handlers that a reset does not end, one connection has as
// many of them running as it may have calls, and is closed when it asks for many more.
func TestRapidResetOfWhatCannotEnd(t *testing.T) {
	t.Parallel()
	server, roots := secured(t)
	slow := &stuck{release: make(chan struct{})}
	h := newHouse(t, options{tls: server, roots: roots, gateway: func(cfg *gateway.Config) {
		slow.Authenticator, cfg.Auth = cfg.Auth, slow
		cfg.Limits.StreamsPerConnection = 20
	}})
	defer close(slow.release)
	f := secureFrames(t, h.addr(), roots)
	block := get(t, "/v1/accounts", "stuck")
	code := f.until(t, func(i uint32) error {
		if i%100 == 0 {
			h.do(t, http.MethodGet, "/v1/accounts", nil).ok(t)
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
			return err
		}
		return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	})
	if code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection was closed with %s", code)
	}
	h.do(t, http.MethodGet, "/v1/accounts", nil).ok(t)
	slow.mu.Lock()
	defer slow.mu.Unlock()
	if n := slow.most; n == 0 || n > 20 {
		t.Errorf("%d calls of one connection were running, where there may be 20", n)
	}
}

// Floods of frames with which HTTP/2 is kept busy end with their connection, or take
// neither memory nor goroutines, on both listeners, whether or not their sender reads
// what it is answered.
func TestFloodsTakeNoMemory(t *testing.T) { //nolint:paralleltest // it measures the process
	const most = 24 << 20
	server, roots := secured(t)
	h := newHouse(t, options{tls: server, roots: roots})
	more := bytes.Repeat(header(t, "x-more", strings.Repeat("y", 500)), 30)
	for _, flood := range []struct { //nolint:paralleltest // likewise
		name   string
		write  func(f *http2.Framer, i int) error
		frames int
	}{
		{"CONTINUATION", func(f *http2.Framer, i int) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get(t, "/healthz", "x")})
			}
			return f.WriteContinuation(1, false, more)
		}, 100_000},
		{"CONTINUATION, empty", func(f *http2.Framer, i int) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get(t, "/healthz", "x")})
			}
			return f.WriteContinuation(1, false, nil)
		}, 100_000},
		{"PING", func(f *http2.Framer, _ int) error { return f.WritePing(false, [8]byte{}) }, 100_000},
		{"SETTINGS", func(f *http2.Framer, i int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i % 2)})
		}, 100_000},
		{"RST_STREAM", func(f *http2.Framer, _ int) error { return f.WriteRSTStream(1, http2.ErrCodeCancel) }, 100_000},
		{"PRIORITY", func(f *http2.Framer, i int) error {
			return f.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)})
		}, 100_000},
	} {
		for listener, addr := range map[string]string{"HTTP": h.addr(), "gRPC": h.grpc.Target()} {
			t.Run(listener+" "+flood.name, func(t *testing.T) {
				conn := secureConn(t, addr, roots, "h2")
				framer := http2.NewFramer(conn, nil)
				if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
					t.Fatal(err)
				}
				if err := framer.WriteSettings(); err != nil {
					t.Fatal(err)
				}
				goroutines, peak := runtime.NumGoroutine(), watchHeap(t)
				_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
				var err error
				written := 0
				for ; written < flood.frames && err == nil; written++ {
					err = flood.write(framer, written)
				}
				grown := runtime.NumGoroutine() - goroutines
				h.do(t, http.MethodGet, "/v1/accounts", nil).ok(t)
				if _, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asAdmin(t.Context()), &posternv1.ListAccountsRequest{}); err != nil {
					t.Errorf("somebody else: %v", err)
				}
				heap := peak()
				t.Logf("after %d frames: %v; %d KiB, %d goroutines", written, err, heap>>10, grown)
				if heap > most || grown > 50 {
					t.Errorf("it took %d KiB and %d goroutines", heap>>10, grown)
				}
			})
		}
	}
}
