package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/selfsigned"
)

// dial opens a connection, which ends with the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// addr is where the HTTP listener is.
func (h *house) addr() string {
	_, addr, _ := strings.Cut(h.base, "://")
	return addr
}

// closed waits until the other end has closed a connection. What it says before is
// of no interest.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err := io.Copy(io.Discard, conn)
	if wait, ok := errors.AsType[net.Error](err); ok && wait.Timeout() {
		t.Error("the connection is still open")
	}
}

// secured is TLS for a house, and who vouches for it.
func secured(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	certificate, roots, err := selfsigned.New()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, roots
}

// trickle sends bytes one by one until the other end has closed the connection.
func trickle(conn net.Conn, text string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		<-tick.C
	}
}

// A client that does not come to the point loses its connection: it does not finish
// the handshake, the preface, the header, or the body.
func TestSlowClientsLoseTheirConnection(t *testing.T) {
	t.Parallel()
	server, roots := secured(t)
	h := newHouse(t, options{tls: server, roots: roots, gateway: func(cfg *gateway.Config) {
		cfg.Limits.HeaderTimeout, cfg.Limits.BodyTimeout, cfg.Limits.IdleTimeout = time.Second, time.Second, time.Second
	}})
	secure := func(t *testing.T, addr, protocol string) net.Conn {
		conn := tls.Client(dial(t, addr), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{protocol}})
		if err := conn.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	const header = "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 100000\r\n"
	for name, misbehave := range map[string]func(t *testing.T, addr string) net.Conn{
		"says nothing": dial,
		"begins a handshake": func(t *testing.T, addr string) net.Conn {
			conn := dial(t, addr)
			_, _ = conn.Write([]byte("\x16\x03\x01\x02\x00\x01"))
			return conn
		},
		"trickles a handshake": func(t *testing.T, addr string) net.Conn {
			conn := dial(t, addr)
			trickle(conn, "\x16\x03\x01\x40\x00\x01")
			return conn
		},
		"says nothing after the handshake": func(t *testing.T, addr string) net.Conn { return secure(t, addr, "h2") },
		"sends only the preface": func(t *testing.T, addr string) net.Conn {
			conn := secure(t, addr, "h2")
			_, _ = conn.Write([]byte(http2.ClientPreface))
			return conn
		},
		"begins a frame": func(t *testing.T, addr string) net.Conn {
			conn := secure(t, addr, "h2")
			_, _ = conn.Write([]byte(http2.ClientPreface + "\x00\x00"))
			return conn
		},
	} {
		for listener, addr := range map[string]string{"HTTP": h.addr(), "gRPC": h.grpc.Target()} {
			t.Run(listener+" "+name, func(t *testing.T) {
				t.Parallel()
				closed(t, misbehave(t, addr))
			})
		}
	}
	for name, misbehave := range map[string]func(conn net.Conn){
		"trickles the header": func(conn net.Conn) { trickle(conn, header) },
		"trickles the body": func(conn net.Conn) {
			_, _ = conn.Write([]byte(header + "\r\n"))
			trickle(conn, "{ ")
		},
		"asks for nothing more": func(conn net.Conn) {
			_, _ = conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
		},
	} {
		t.Run("HTTP "+name, func(t *testing.T) {
			t.Parallel()
			conn := secure(t, h.addr(), "http/1.1")
			misbehave(conn)
			closed(t, conn)
		})
	}
}

// The message of a gRPC call has to come, and so has each piece of one that is
// streamed; neither holds its place of the token's limit for ever.
func TestMessagesThatDoNotCome(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.BodyTimeout, l.ConcurrentPerToken = time.Second, 1 })
	silent := func(method string, desc *grpc.StreamDesc) {
		ctx, cancel := context.WithTimeout(asNamed(t.Context(), "ann"), 30*time.Second)
		defer cancel()
		stream, err := h.grpc.NewStream(ctx, desc, method)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&posternv1.Account{}); err == nil || ctx.Err() != nil {
			t.Errorf("%s is still open: %v", method, err)
		}
	}
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	silent(posternv1.AccountService_GetAccount_FullMethodName, both)
	silent(posternv1.EventService_WatchEvents_FullMethodName, both)
	silent(posternv1.UploadService_CreateUpload_FullMethodName, both)
	header, value := named("ann")
	h.until(t, "/healthz", func(answer) bool {
		return h.do(t, http.MethodGet, "/v1/accounts", nil, header, value).status == http.StatusOK
	})
}

// A download that is not read is cut off, and gives the mailbox's connection back.
func TestDownloadsThatAreNotRead(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.StallTimeout = time.Second })
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", withAttachment("a.bin", bytes.Repeat([]byte("x"), 30<<20)))
	name := h.newest(t, account)
	conn, err := grpc.NewClient(h.grpc.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// More than an account has connections.
	for range 4 {
		stream, err := posternv1.NewMessageServiceClient(conn).DownloadMessage(asNamed(t.Context(), "ann"), &posternv1.DownloadMessageRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		raw := dial(t, h.addr())
		_, _ = raw.Write([]byte("GET /v1/" + name + ":raw HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer name-ann\r\n\r\n"))
		if _, err := io.ReadFull(raw, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if n := len(h.do(t, http.MethodGet, "/v1/"+name+":raw", nil).body); n < 30<<20 {
			t.Errorf("a download that is read has %d bytes", n)
		}
	}
}

// frames are a connection on which a test writes frames of HTTP/2 as it likes.
type frames struct {
	*http2.Framer
	conn net.Conn
	// gone is closed when the other end has closed it; last is why.
	gone chan struct{}
	last http2.ErrCode
}

// openFrames begins HTTP/2 with a listener of the house.
func openFrames(t *testing.T, conn net.Conn) *frames {
	t.Helper()
	out := &frames{Framer: http2.NewFramer(conn, conn), conn: conn, gone: make(chan struct{})}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := out.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(out.gone)
		for {
			f, err := out.ReadFrame()
			if err != nil {
				return
			}
			if away, ok := f.(*http2.GoAwayFrame); ok {
				out.last = away.ErrCode
			}
		}
	}()
	return out
}

// header encodes a request. Without a state of its own each is as long.
func header(t *testing.T, fields ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func call(t *testing.T, method, token string) []byte {
	return header(t, ":method", "POST", ":scheme", "http", ":path", method, ":authority", "x",
		"content-type", "application/grpc", "te", "trailers", "authorization", "Bearer "+token)
}

// until writes until the other end has closed the connection, which it must.
func (f *frames) until(t *testing.T, write func(i uint32) error) http2.ErrCode {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for i := uint32(0); ; i++ {
		select {
		case <-f.gone:
			return f.last
		case <-deadline.C:
			t.Fatal("the connection is still open")
		default:
		}
		if write(i) != nil {
			<-f.gone
			return f.last
		}
	}
}

// Calls that are reset as soon as they are made (CVE-2023-44487) cost a token its
// rate like all others, and a client that goes on loses its connection; so does one
// without a token. Others are served meanwhile.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"with a token": "name-flood", "without one": "wrong"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := limitedHouse(t, func(l *gateway.Limits) { l.RatePerToken, l.RateUnauthenticated = 100, 100 })
			f := openFrames(t, dial(t, h.grpc.Target()))
			block := call(t, posternv1.AccountService_ListAccounts_FullMethodName, key)
			f.until(t, func(i uint32) error {
				if i%1000 == 0 {
					if _, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asNamed(t.Context(), "ann"), &posternv1.ListAccountsRequest{}); err != nil && i < 50_000 {
						t.Errorf("somebody else: %v", err)
					}
				}
				if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true}); err != nil {
					return err
				}
				return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
			})
		})
	}
}

// Pings more often than is allowed are answered with ENHANCE_YOUR_CALM.
func TestTooManyPings(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	f := openFrames(t, dial(t, h.grpc.Target()))
	if code := f.until(t, func(uint32) error { return f.WritePing(false, [8]byte{}) }); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection was closed with %s", code)
	}
}

// A header without an end (CVE-2024-27316) ends the connection or the stream, and
// takes no memory: what comes is many times the bound.
func TestEndlessHeader(t *testing.T) {
	t.Parallel()
	server, roots := secured(t)
	h := newHouse(t, options{tls: server, roots: roots})
	for listener, addr := range map[string]string{"HTTP": h.addr(), "gRPC": h.grpc.Target()} {
		t.Run(listener, func(t *testing.T) {
			t.Parallel()
			conn := tls.Client(dial(t, addr), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
			if err := conn.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := openFrames(t, conn)
			more := bytes.Repeat(header(t, "x-more", strings.Repeat("y", 500)), 30)
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: call(t, "/x", "name-ann")}); err != nil {
				t.Fatal(err)
			}
			f.until(t, func(uint32) error { return f.WriteContinuation(1, false, more) })
		})
	}
}

// Frames that ask for an answer and are never read hold up their own connection, and
// nobody else.
func TestFloodsOfFramesStarveNobody(t *testing.T) {
	t.Parallel()
	server, roots := secured(t)
	h := newHouse(t, options{tls: server, roots: roots})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, addr := range []string{h.addr(), h.grpc.Target()} {
		for _, write := range []func(*http2.Framer) error{
			func(f *http2.Framer) error {
				return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			},
			func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) },
			func(f *http2.Framer) error { return f.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
			func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeCancel) },
		} {
			conn := tls.Client(dial(t, addr), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
			if err := conn.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			framer := http2.NewFramer(conn, conn)
			_, _ = io.WriteString(conn, http2.ClientPreface)
			_ = framer.WriteSettings()
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				var err error
				for ctx.Err() == nil && err == nil {
					err = write(framer)
				}
			}()
			t.Cleanup(func() { _ = conn.Close(); <-stopped })
		}
	}
	for range 15 {
		h.do(t, http.MethodGet, "/v1/accounts", nil).ok(t)
		if _, err := posternv1.NewAccountServiceClient(h.grpc).ListAccounts(asAdmin(t.Context()), &posternv1.ListAccountsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
}

// What is small on the wire and large in memory is refused by what it would be.
func TestBombs(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	templates := posternv1.NewTemplateServiceClient(h.grpc)
	_, err := templates.CreateTemplate(asAdmin(t.Context()), &posternv1.CreateTemplateRequest{
		Template: &posternv1.Template{Text: strings.Repeat("a", 20<<20)},
	}, grpc.UseCompressor(gzip.Name), grpc.MaxCallSendMsgSize(1<<30))
	if code := status.Code(err); code != codes.ResourceExhausted {
		t.Errorf("20 MiB in gzip: %v", err)
	}
	_, err = templates.GetTemplate(metadata.AppendToOutgoingContext(asAdmin(t.Context()), "x-big", strings.Repeat("h", 200<<10)),
		&posternv1.GetTemplateRequest{Name: "templates/a"})
	if err == nil || status.Code(err) == codes.NotFound {
		t.Errorf("a header of 200 KiB: %v", err)
	}
	raw := dial(t, h.addr())
	if _, err := io.WriteString(raw, "GET /v1/accounts HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("h", 69<<10)); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(raw); !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
		t.Errorf("a header of 69 KiB without an end, by HTTP: %.100q", answer)
	}
	_, err = posternv1.NewWebhookServiceClient(h.grpc).CreateWebhook(asAdmin(t.Context()), &posternv1.CreateWebhookRequest{
		Webhook: &posternv1.Webhook{Types: make([]string, 1e6)},
	})
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	merge := func(variables string) string {
		return `{"recipients":[{"to":{"address":"a@b.example"},"variables":{"v":` + variables + `}}]}`
	}
	for name, c := range map[string]struct {
		path, body, reason string
		status             int
		header             []string
	}{
		"nesting":           {"/v1/accounts/a/submissions:merge", merge(strings.Repeat("[", 1e6)), "BODY_INVALID", 400, nil},
		"nesting, closed":   {"/v1/accounts/a/submissions:merge", merge(strings.Repeat("[", 5e5) + strings.Repeat("]", 5e5)), "BODY_INVALID", 400, nil},
		"nesting, objects":  {"/v1/accounts/a/submissions:merge", merge(strings.Repeat(`{"a":`, 5e5) + "1" + strings.Repeat("}", 5e5)), "BODY_INVALID", 400, nil},
		"a long list":       {"/v1/webhooks", `{"types":[` + strings.Repeat(`"",`, 1e6) + `""]}`, "BODY_INVALID", 400, nil},
		"a long number":     {"/v1/accounts", `{"imap":{"port":` + strings.Repeat("9", 3e6) + `}}`, "BODY_INVALID", 400, nil},
		"too large":         {"/v1/accounts", strings.Repeat(" ", 5<<20), "REQUEST_TOO_LARGE", 413, nil},
		"compressed":        {"/v1/accounts", "\x1f\x8b", "BODY_INVALID", 400, []string{"Content-Encoding", "gzip"}},
		"compressed upload": {"/v1/accounts/a/uploads", "\x1f\x8b", "BODY_INVALID", 400, []string{"Content-Encoding", "gzip", "Content-Type", "text/plain"}},
	} {
		a := h.do(t, http.MethodPost, c.path, c.body, c.header...)
		if a.status != c.status || !strings.Contains(string(a.body), c.reason) {
			t.Errorf("%s: %d %.300s", name, a.status, a.body)
		}
	}
	many := h.do(t, http.MethodGet, "/v1/accounts?"+strings.Repeat("a=1&", 10_000)+"a=1", nil)
	if many.status != http.StatusBadRequest && many.status != http.StatusRequestURITooLong && many.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("many parameters: %d", many.status)
	}
}

// Idle connections of strangers are no more than may be, and keep nobody out.
func TestIdleConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.Connections, l.ConnectionsPerAddress = 50, 0 })
	header, value := named("ann")
	watch := h.send(t, http.MethodGet, "/v1/events:watch", nil, header, value)
	defer watch.Body.Close()
	first := dial(t, h.addr())
	for i := range 300 {
		dial(t, []string{h.addr(), h.grpc.Target()}[i%2])
	}
	closed(t, first) // it made room
	h.do(t, http.MethodGet, "/v1/accounts", nil, header, value).ok(t)
	// Who has called with a token stays.
	if _, err := watch.Body.Read(make([]byte, 10)); err != nil {
		t.Errorf("the watch: %v", err)
	}
}

// From one address there are no more connections than may be; the places come back.
func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.ConnectionsPerAddress = 20 })
	var all []net.Conn
	for range 30 {
		all = append(all, dial(t, h.addr()))
	}
	closed(t, all[29])
	for _, conn := range all {
		_ = conn.Close()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		resp, err := http.Get(h.base + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// The calls of one token come over no more connections than may be.
func TestConnectionsPerToken(t *testing.T) {
	t.Parallel()
	h := limitedHouse(t, func(l *gateway.Limits) { l.ConnectionsPerToken = 2 })
	watch := func(name string) (status int, leave func()) { // each needs a connection
		header, value := named(name)
		resp := h.send(t, http.MethodGet, "/v1/events:watch", nil, header, value)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp.StatusCode, func() { _ = resp.Body.Close() }
	}
	_, leave := watch("ann")
	watch("ann")
	if status, _ := watch("ann"); status != http.StatusTooManyRequests {
		t.Errorf("a third connection: %d", status)
	}
	if status, _ := watch("bob"); status != http.StatusOK {
		t.Errorf("another token: %d", status)
	}
	leave()
	h.until(t, "/healthz", func(answer) bool {
		status, _ := watch("ann")
		return status == http.StatusOK
	})
}
