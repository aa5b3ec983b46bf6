package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/secret"
)

// stream is an answer that may have no end. It is closed with the test.
type stream struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader
}

// bare sends a request without a token, as a browser's EventSource does.
func (h *house) bare(t testing.TB, path string, header ...string) stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return stream{StatusCode: resp.StatusCode, Header: resp.Header, Body: resp.Body}
}

// firstID is the id of the first frame of a stream.
func firstID(t testing.TB, resp stream) string {
	t.Helper()
	buf := make([]byte, 4096)
	text := ""
	for !strings.Contains(text, "\n\n") {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text += string(buf[:n])
	}
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			return strings.TrimSpace(id)
		}
	}
	t.Fatalf("no id in %q", text)
	return ""
}

func TestEventTicket(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name, other := h.account(t), h.account(t)
	made := h.do(t, http.MethodPost, "/v1/events:ticket", object{"accounts": []string{name}}).ok(t)
	ticket := made["ticket"].(string)
	if expires, err := time.Parse(time.RFC3339, made["expireTime"].(string)); err != nil || time.Until(expires) > time.Minute {
		t.Errorf("it expires at %v, %v", made["expireTime"], err)
	}
	watch := "/v1/events:watch" + values("ticket", ticket)
	resp := h.bare(t, watch)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	id := firstID(t, resp)
	cursor, resume, _ := strings.Cut(id, "~")
	if cursor == "" || resume == "" {
		t.Fatalf("the id %q lets nobody come back", id)
	}
	// Back by the id alone, as after the ticket's time.
	if resp := h.bare(t, "/v1/events:watch?ticket=expired", "Last-Event-ID", id); resp.StatusCode != http.StatusOK {
		t.Errorf("coming back: %d", resp.StatusCode)
	}
	h.pen(t, name).write("seen")
	h.pen(t, other).write("unseen")
	back := h.bare(t, watch, "Last-Event-ID", id)
	if second := firstID(t, back); !strings.Contains(second, "~") {
		t.Errorf("id %q", second)
	}
	for path, want := range map[string]int{
		watch + "&accounts=" + other: http.StatusForbidden,
		// A cursor is no proof that somebody was there before.
		"/v1/events:watch?ticket=" + resume:               http.StatusUnauthorized,
		"/v1/events:watch?ticket=x":                       http.StatusUnauthorized,
		"/v1/events:watch":                                http.StatusUnauthorized,
		"/v1/" + name + values("ticket", ticket):          http.StatusUnauthorized, // it is for watches alone
		"/v1/events:cursor" + values("ticket", ticket):    http.StatusUnauthorized,
		"/v1/events:watch" + values("ticket", ticket[1:]): http.StatusUnauthorized,
	} {
		if resp := h.bare(t, path); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp := h.bare(t, "/v1/events:watch?ticket=expired", "Last-Event-ID", cursor+"~x"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a forged id: %d", resp.StatusCode)
	}
	if strings.Contains(h.logged.String(), ticket) || strings.Contains(h.logged.String(), resume) {
		t.Error("a ticket is in the log")
	}
}

// changingAuth knows one token at a time.
type changingAuth struct{ present atomic.Value }

func (a *changingAuth) set(t testing.TB, token string) {
	t.Helper()
	auth, err := gateway.NewAdminToken(secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	a.present.Store(auth)
}

func (a *changingAuth) Authenticate(ctx context.Context, shown access.Credentials) (access.Principal, error) {
	return a.present.Load().(access.Authenticator).Authenticate(ctx, shown)
}

// A ticket is worth no more than the token that it was made with.
func TestEventTicketEndsWithItsToken(t *testing.T) {
	t.Parallel()
	auth := &changingAuth{}
	auth.set(t, token)
	h := newHouse(t, options{gateway: func(c *gateway.Config) { c.Auth = auth }})
	ticket := h.do(t, http.MethodPost, "/v1/events:ticket", object{}).ok(t)["ticket"].(string)
	auth.set(t, "another-token-of-sufficient-length")
	if resp := h.bare(t, "/v1/events:watch"+values("ticket", ticket)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestEventsByLabel(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	before := h.get(t, "/v1/events:cursor")["cursor"].(string)
	sales, support := h.account(t), h.account(t)
	h.do(t, http.MethodPatch, "/v1/"+sales, object{"labels": object{"team": "label-test"}}).ok(t)
	h.pen(t, sales).write("a")
	h.pen(t, support).write("b")
	events := list(h.get(t, "/v1/accounts/-/events"+values("afterCursor", before, "accountLabels[team]", "label-test")), "events")
	if len(events) != 1 || detail(events[0]["event"].(object)) != "a" {
		t.Errorf("listed %v", events)
	}
	h.do(t, http.MethodGet, "/v1/accounts/-/events?labels[team]=sales", nil).refused(t, 400, "ARGUMENT_INVALID")
	if got, _ := h.watch(t, values("cursor", before, "accountLabels[team]", "label-test")).take(1); got[0] != "a" {
		t.Errorf("watched %v", got)
	}
}
