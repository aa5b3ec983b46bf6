package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/audit"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/template"
	apitoken "github.com/postern-mail/postern/internal/token" // the tests have a token
	"github.com/postern-mail/postern/internal/webhook"
)

const token = "test-token-of-sufficient-length"

// house is a gateway with everything below it: an embedded NATS, the registry
// of accounts, their connections, the event log. Clients use its front doors.
type house struct {
	base     string // URL of the HTTP listener
	client   *http.Client
	grpc     *grpc.ClientConn
	accounts *account.Registry
	events   *eventlog.Log
	folders  *folder.Registry
	tokens   *apitoken.Store
	logged   *logtest.Buffer
	stop     context.CancelFunc
	stopped  chan error
	// stopStorage ends the NATS server that the house stands on.
	stopStorage func()
}

// options change what a house is made of.
type options struct {
	cas     *tls.Config
	events  eventlog.Config
	gateway func(*gateway.Config)
	// tls is spoken by the gateway, with a certificate that roots vouch for.
	tls   *tls.Config
	roots *x509.CertPool
	// most is how many accounts, webhooks and templates there may be.
	most int
	// outbox is how much there may be of each account.
	outbox submit.Bounds
}

// runOutbox runs the outbox of a house until the returned function is called.
func runOutbox(ctx context.Context, store *submit.Store, accounts *account.Registry, connector *account.Connector, folders *folder.Registry) (stop func()) {
	senders := submit.NewSenders(connector, nil)
	outbox := submit.NewOutbox(submit.Config{
		Store: store, Accounts: accounts, Sender: senders, Mailbox: &submit.IMAPMailbox{Connections: connector, Folders: folders},
		Pause: func(int) time.Duration { return 50 * time.Millisecond },
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = outbox.Run(ctx) // what it fails with, the tests see by what is not sent
	}()
	return func() {
		cancel()
		<-done
		senders.Close()
	}
}

// nowhere is a resolver of a machine without a network.
var nowhere = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("there is no network")
}}

// build starts a house; the returned function takes it down.
func build(dir string, o options) (_ *house, down func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var undo []func()
	end := func() {
		cancel()
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	h := &house{logged: &logtest.Buffer{}, stopped: make(chan error, 1)}
	server, err := natsd.Start(ctx, natsd.Config{DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0"})
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, func() { _ = server.Shutdown(context.Background()) })
	h.stopStorage = func() { _ = server.Shutdown(context.Background()) } // undo waits for the same end
	conn, err := server.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, nil, err
	}
	box, err := secret.OpenFile(filepath.Join(dir, "key"))
	if err != nil {
		return nil, nil, err
	}
	requests, err := requestid.Open(ctx, js, 1, box)
	if err != nil {
		return nil, nil, err
	}
	if h.accounts, err = account.Open(ctx, js, account.Config{Box: box, Requests: requests, Most: o.most}); err != nil {
		return nil, nil, err
	}
	undo = append(undo, h.accounts.Close)
	connector := account.NewConnector(account.ConnectorConfig{Registry: h.accounts, TLS: o.cas})
	undo = append(undo, connector.Close)
	bucket, err := folder.OpenBucket(ctx, js, 1)
	if err != nil {
		return nil, nil, err
	}
	if h.events, err = eventlog.Open(ctx, js, o.events); err != nil {
		return nil, nil, err
	}
	undo = append(undo, h.events.Close)
	ledger, err := moves.Open(ctx, js, 1, nil)
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, ledger.Close)
	successors, err := moves.OpenSuccessors(ctx, js, 1)
	if err != nil {
		return nil, nil, err
	}
	folders := folder.NewRegistry(bucket)
	h.folders = folders
	submissions, err := submit.OpenStore(ctx, js, 1, o.outbox)
	if err != nil {
		return nil, nil, err
	}
	templates, err := template.Open(ctx, js, 1, o.most)
	if err != nil {
		return nil, nil, err
	}
	if h.tokens, err = apitoken.Open(ctx, js, apitoken.Config{Box: box}); err != nil {
		return nil, nil, err
	}
	undo = append(undo, h.tokens.Close)
	undo = append(undo, runOutbox(ctx, submissions, h.accounts, connector, folders))
	webhooks, err := webhook.Open(ctx, js, webhook.Config{
		Box: box, Requests: requests, Log: h.events, Accounts: h.accounts, Most: o.most, Guard: &netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		return nil, nil, err
	}
	cfg := gateway.Config{
		Accounts: h.accounts, Connector: connector, Folders: folders, Events: h.events,
		Requests: requests, Moves: ledger, Successors: successors, Submissions: submissions,
		Finder:    discover.New(discover.Config{Guard: &netguard.Guard{Resolver: nowhere}}),
		PublicURL: "https://postern.example/mail/", Templates: templates, Tokens: h.tokens, Webhooks: webhooks, Box: box,
		Log: slog.New(slog.NewTextHandler(h.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if cfg.Audit, err = audit.Open(ctx, js, audit.Config{Node: "house"}); err != nil {
		return nil, nil, err
	}
	undo = append(undo, cfg.Audit.Close)
	cfg.TLS = o.tls
	// Tests that are not about limits ask for as much as they like.
	limits := gateway.DefaultLimits()
	limits.RatePerToken, limits.RatePerAccount, limits.RateUnauthenticated, limits.RateDiscovery = 0, 0, 0, 0
	cfg.Limits = &limits
	if err := h.serve(ctx, cfg, o, &undo); err != nil {
		return nil, nil, err
	}
	return h, end, nil
}

func (h *house) serve(ctx context.Context, cfg gateway.Config, o options, undo *[]func()) (err error) {
	admin, err := gateway.NewAdminToken(secret.New(token))
	if err != nil {
		return err
	}
	cfg.Auth = access.AnyOf(admin, h.tokens)
	if cfg.HTTP, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if cfg.GRPC, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if o.gateway != nil {
		o.gateway(&cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var sending sync.WaitGroup
		sending.Go(func() { _ = cfg.Webhooks.Run(ctx, g.MessageBody) }) // it has no way to fail
		h.stopped <- g.Run(ctx)
		sending.Wait()
	}()
	*undo = append(*undo, func() { h.stop(); <-finished })
	h.base = "http://" + cfg.HTTP.Addr().String()
	transport := insecure.NewCredentials()
	h.client = http.DefaultClient
	if o.roots != nil {
		h.base = "https://" + cfg.HTTP.Addr().String()
		trust := &tls.Config{RootCAs: o.roots}
		transport = credentials.NewTLS(trust)
		h.client = &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}}
	}
	h.grpc, err = grpc.NewClient(cfg.GRPC.Addr().String(), grpc.WithTransportCredentials(transport))
	if err != nil {
		return err
	}
	*undo = append(*undo, func() { _ = h.grpc.Close() })
	return h.waitReady()
}

func (h *house) waitReady() error {
	deadline := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for time.Now().Before(deadline) {
		resp, err := h.client.Get(h.base + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		<-ticker.C
	}
	return fmt.Errorf("the gateway does not become ready")
}

// newHouse is a house for one test.
func newHouse(t testing.TB, o options) *house {
	t.Helper()
	h, down, err := build(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(down)
	return h
}

// asAdmin is a context whose gRPC calls carry the token.
func asAdmin(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with the token. A body that is not a string or a reader
// goes as JSON.
func (h *house) do(t testing.TB, method, path string, body any, header ...string) answer {
	t.Helper()
	resp := h.send(t, method, path, body, header...)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: content}
}

func (h *house) send(t testing.TB, method, path string, body any, header ...string) *http.Response {
	t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(body)
	case io.Reader:
		reader = body
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// object is a JSON object.
type object = map[string]any

// get reads a resource and fails the test unless the answer is 200.
func (h *house) get(t testing.TB, path string) object {
	t.Helper()
	return h.do(t, http.MethodGet, path, nil).ok(t)
}

func (a answer) ok(t testing.TB) object {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	return a.json(t)
}

func (a answer) json(t testing.TB) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(a.body, &o); err != nil {
		t.Fatalf("not JSON: %v: %s", err, a.body)
	}
	return o
}

// refused checks the form of an error: exactly one ErrorInfo of our domain.
func (a answer) refused(t testing.TB, status int, reason string) object {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	o := a.json(t)
	var infos []object
	details, _ := o["details"].([]any)
	for _, d := range details {
		if d := d.(object); d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" {
			infos = append(infos, d)
		}
	}
	if len(infos) != 1 || infos[0]["domain"] != "postern" || infos[0]["reason"] != reason {
		t.Fatalf("want exactly one ErrorInfo with reason %s: %s", reason, a.body)
	}
	if message, _ := o["message"].(string); message == "" {
		t.Errorf("the error says nothing: %s", a.body)
	}
	return infos[0]
}

// list gives the objects of a list answer.
func list(o object, field string) []object {
	items, _ := o[field].([]any)
	out := make([]object, len(items))
	for i := range items {
		out[i] = items[i].(object)
	}
	return out
}

func values(params ...string) string {
	v := url.Values{}
	for i := 0; i < len(params); i += 2 {
		v.Add(params[i], params[i+1])
	}
	return "?" + v.Encode()
}

// freshID is an account id that no other test has.
func freshID() string { return "t" + strings.ToLower(rand.Text()[:12]) }

// reasonOf is the reason of a status as a client reads it.
func reasonOf(s *status.Status) string {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "postern" {
			return info.GetReason()
		}
	}
	return ""
}

// withUID is the name of another message in the same folder.
func withUID(t testing.TB, name string, uid imap.UID) string {
	t.Helper()
	account, text, _ := strings.Cut(name, "/messages/")
	id, err := folder.ParseMessageID(text)
	if err != nil {
		t.Fatal(err)
	}
	id.UID = uid
	return account + "/messages/" + id.String()
}

// until asks again and again until the answer is as wanted.
func (h *house) until(t testing.TB, path string, wanted func(answer) bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for a := h.do(t, http.MethodGet, path, nil); !wanted(a); a = h.do(t, http.MethodGet, path, nil) {
		select {
		case <-deadline.C:
			t.Fatalf("%s still answers %d: %s", path, a.status, a.body)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// errorInfo is the metadata of an error.
func errorInfo(s *status.Status) map[string]string {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()
		}
	}
	return nil
}

func networks(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
