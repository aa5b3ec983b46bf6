package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// stall opens watches that nobody reads: by HTTP/1.1, by HTTP/2, and by gRPC.
func (h *house) stall(t *testing.T, roots *x509.CertPool) {
	t.Helper()
	const path, key = "/v1/events:watch", "name-stalled"
	plain := secureConn(t, h.addr(), roots, "http/1.1")
	if _, err := io.WriteString(plain, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// Its frames are taken in, but no room is given for more.
	f := secureFrames(t, h.addr(), roots)
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get(t, path, key), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(h.grpc.Target(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})),
		grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := posternv1.NewEventServiceClient(conn).WatchEvents(asNamed(t.Context(), "stalled"), &posternv1.WatchEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A watch that nobody reads is cut off once it takes nothing more, and what it held
// ends with it. Others get all that happens meanwhile.
func TestWatchesThatAreNotRead(t *testing.T) { //nolint:paralleltest // it measures the process
	const each, most = 5, 64 << 20
	server, roots := secured(t)
	h := newHouse(t, options{tls: server, roots: roots, gateway: func(cfg *gateway.Config) {
		cfg.Auth = anyName{cfg.Auth}
		cfg.Limits.StallTimeout, cfg.Limits.StreamsPerToken = 3*time.Second, 3*each
	}})
	account := h.account(t)
	p := h.pen(t, account)
	reader := h.watch(t, values("accounts", account))
	if _, err := reader.next(); err != nil {
		t.Fatal(err)
	}
	stream, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(asAdmin(t.Context()), &posternv1.WatchEventsRequest{Accounts: []string{account}})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	before := live()
	for range each {
		h.stall(t, roots)
	}
	header, value := named("stalled")
	full := func() bool { // a cursor that is none ends a watch that is let in
		a := h.do(t, http.MethodGet, "/v1/events:watch?cursor=nonsense", nil, header, value)
		return a.status == http.StatusTooManyRequests
	}
	h.until(t, "/healthz", func(answer) bool { return full() && watching() == 2+3*each })
	// The kernels take megabytes before a writer has to wait.
	long, n := strings.Repeat("x", 1900), 0
	for deadline := time.Now().Add(2 * time.Minute); h.ended() < 3*each; {
		if time.Now().After(deadline) {
			t.Fatalf("of %d watches that are not read %d have ended", 3*each, h.ended())
		}
		batch := make([]string, 200)
		for i := range batch {
			batch[i] = fmt.Sprintf("%d %s", n, long)
			n++
		}
		p.write(batch...)
		for _, want := range batch {
			got, _ := reader.take(1)
			if got[0] != want {
				t.Fatalf("a reader gets %.20q in place of %.20q", got[0], want)
			}
			for { // frames without an event are heartbeats
				frame, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				if data := frame.GetEvent().GetFields()["data"]; data != nil {
					if got := data.GetStructValue().GetFields()["detail"].GetStringValue(); got != want {
						t.Fatalf("a reader by gRPC gets %.20q in place of %.20q", got, want)
					}
					break
				}
			}
		}
	}
	if full() {
		t.Error("the places of watches that were cut off are taken")
	}
	// Only those of the two who read are left, although the connections are open.
	h.until(t, "/healthz", func(answer) bool { return watching() == 2 })
	grown := live() - before
	t.Logf("after %d events of 2 KiB the heap has grown by %d KiB", n, grown>>10)
	if grown > most {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
}

// live is how much memory is in use.
func live() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// watching counts the goroutines that watch events for somebody.
func watching() int {
	stacks := make([]byte, 16<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "gateway.(*eventService).follow(")
}

// ended counts the watches of the stalled that the log says have ended.
func (h *house) ended() (n int) {
	for line := range strings.Lines(h.logged.String()) {
		if strings.Contains(line, "principal=stalled") && strings.Contains(line, "atch") && !strings.Contains(line, "CURSOR_INVALID") {
			n++
		}
	}
	return n
}
