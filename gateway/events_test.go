package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
)

// pen writes events as the owner of an account would.
type pen struct {
	t       testing.TB
	account string
	writer  *eventlog.Writer
	number  uint64
}

func (h *house) pen(t testing.TB, name string) *pen {
	t.Helper()
	id := strings.TrimPrefix(name, "accounts/")
	w, err := h.events.Writer(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &pen{t: t, account: id, writer: w, number: w.Head().Number}
}

// write appends account.degraded events with the details given.
func (p *pen) write(details ...string) {
	p.t.Helper()
	var events []event.Event
	for _, d := range details {
		events = append(events, event.New(p.account, p.number, time.Now(), &event.AccountDegraded{
			AccountRef: event.AccountAt(p.account), Detail: d,
		}))
		p.number++
	}
	if _, err := p.writer.Append(p.t.Context(), events...); err != nil {
		p.t.Fatal(err)
	}
}

// detail is what write gave an event.
func detail(o object) string {
	data, _ := o["data"].(object)
	s, _ := data["detail"].(string)
	return s
}

func (h *house) account(t testing.TB) string {
	t.Helper()
	return h.do(t, http.MethodPost, "/v1/accounts?accountId="+freshID(), newAccount("ann@example.com")).ok(t)["name"].(string)
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name, other := h.account(t), h.account(t)
	before := h.get(t, "/v1/events:cursor")["cursor"].(string)
	p := h.pen(t, name)
	p.write("a", "b", "c", "d", "e")
	h.pen(t, other).write("x")

	var got []string
	cursor := before
	for range 10 {
		o := h.get(t, "/v1/"+name+"/events"+values("afterCursor", cursor, "pageSize", "2"))
		events := list(o, "events")
		for _, e := range events {
			inner := e["event"].(object)
			got = append(got, detail(inner))
			if inner["specversion"] != "1.0" || inner["type"] != "account.degraded" || inner["source"] != "/v1/"+name {
				t.Errorf("not our CloudEvent: %v", inner)
			}
		}
		cursor = o["cursor"].(string)
		if len(events) < 2 {
			break
		}
	}
	if !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("listed %v", got)
	}
	// The cursor has moved past what other accounts wrote.
	if rest := list(h.get(t, "/v1/"+name+"/events"+values("afterCursor", cursor)), "events"); len(rest) != 0 {
		t.Errorf("after the end: %v", rest)
	}
	everywhere := list(h.get(t, "/v1/accounts/-/events"+values("afterCursor", before, "pageSize", "500")), "events")
	if len(everywhere) < 6 {
		t.Errorf("accounts/- has %d events", len(everywhere))
	}
	none := list(h.get(t, "/v1/"+name+"/events"+values("afterCursor", before, "types", "message.created")), "events")
	if len(none) != 0 {
		t.Errorf("other types: %v", none)
	}

	h.do(t, http.MethodGet, "/v1/"+name+"/events?afterCursor=nonsense", nil).refused(t, 400, "CURSOR_INVALID")
	h.do(t, http.MethodGet, "/v1/"+name+"/events?types=message.creatd", nil).refused(t, 400, "ARGUMENT_INVALID")
	h.do(t, http.MethodGet, "/v1/accounts/nobody/events", nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	foreign := newHouse(t, options{}).get(t, "/v1/events:cursor")["cursor"].(string)
	info := h.do(t, http.MethodGet, "/v1/"+name+"/events"+values("afterCursor", foreign), nil).refused(t, 400, "CURSOR_EXPIRED")
	if m := info["metadata"].(object); m["oldest"] == nil || m["head"] == "" {
		t.Errorf("no way to go on: %v", m)
	}
}

// sse is a stream of server-sent events.
type sse struct {
	t       testing.TB
	body    io.ReadCloser
	scanner *bufio.Scanner
}

type sseFrame struct{ id, event, data, retry string }

func (h *house) watch(t testing.TB, query string, header ...string) *sse {
	t.Helper()
	resp := h.send(t, http.MethodGet, "/v1/events:watch"+query, nil, header...)
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s", resp.Status, resp.Header.Get("Content-Type"), body)
	}
	return &sse{t: t, body: resp.Body, scanner: bufio.NewScanner(resp.Body)}
}

// next reads a frame, as HTML section 9.2.6 says.
func (s *sse) next() (f sseFrame, err error) {
	for s.scanner.Scan() {
		line := s.scanner.Text()
		if line == "" {
			return f, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			f.id = value
		case "event":
			f.event = value
		case "data":
			f.data += value
		case "retry":
			f.retry = value
		default:
			s.t.Errorf("odd line %q", line)
		}
	}
	if err := s.scanner.Err(); err != nil {
		return f, err
	}
	return f, io.EOF
}

// take reads on until there are n events, and gives their details.
func (s *sse) take(n int) (details []string, last sseFrame) {
	s.t.Helper()
	for len(details) < n {
		f, err := s.next()
		if err != nil {
			s.t.Fatalf("after %v: %v", details, err)
		}
		if f.id == "" {
			s.t.Errorf("a frame without a cursor: %+v", f)
		}
		last = f
		if f.event == "heartbeat" {
			continue
		}
		var o object
		if err := json.Unmarshal([]byte(f.data), &o); err != nil || o["type"] != f.event {
			s.t.Errorf("frame %+v: %v", f, err)
		}
		details = append(details, detail(o))
	}
	return details, last
}

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name, other := h.account(t), h.account(t)
	p := h.pen(t, name)
	p.write("past")
	s := h.watch(t, values("accounts", name))
	first, err := s.next()
	if err != nil || first.event != "heartbeat" || first.id == "" || first.retry == "" {
		t.Fatalf("first frame %+v, %v", first, err)
	}
	p.write("a")
	h.pen(t, other).write("not ours")
	p.write("b", "c")
	got, last := s.take(2)
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("watched %v", got)
	}
	_ = s.body.Close()

	// A client that comes back goes on where it was, whatever its URL says.
	p.write("d")
	again := h.watch(t, values("accounts", name, "cursor", first.id), "Last-Event-ID", last.id)
	if got, _ := again.take(2); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("resumed with %v", got)
	}
	// Heartbeats move the cursor past what others wrote.
	h.pen(t, other).write("more that is not ours")
	head := h.get(t, "/v1/events:cursor")["cursor"].(string)
	for {
		f, err := again.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.event != "heartbeat" {
			t.Fatalf("frame %+v", f)
		}
		if position(t, f.id) >= position(t, head) {
			break
		}
	}
	// The data is the event's own bytes.
	fromStart := h.watch(t, values("accounts", name, "cursor", first.id))
	_, frame := fromStart.take(1)
	entries, _, err := h.events.List(t.Context(), eventlog.Filter{Accounts: []string{p.account}}, eventlog.Cursor{}, 2)
	if err != nil || frame.data != string(entries[1].Body) {
		t.Errorf("data %s, stored %s, %v", frame.data, entries[1].Body, err)
	}

	h.do(t, http.MethodGet, "/v1/events:watch?cursor=nonsense", nil).refused(t, 400, "CURSOR_INVALID")
	h.do(t, http.MethodGet, "/v1/events:watch", nil, "Last-Event-ID", "nonsense").refused(t, 400, "CURSOR_INVALID")
	h.do(t, http.MethodGet, "/v1/events:watch?accounts=accounts/nobody", nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/events:watch?accounts=nobody", nil).refused(t, 400, "ARGUMENT_INVALID")
	h.do(t, http.MethodGet, "/v1/events:watch?types=a.b,c.d", nil).refused(t, 400, "ARGUMENT_INVALID")
}

// position is the place of a cursor in the log.
func position(t testing.TB, cursor string) uint64 {
	t.Helper()
	c, err := eventlog.ParseCursor(cursor)
	if err != nil {
		t.Fatal(err)
	}
	return c.Sequence()
}

func TestWatchEvents(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name := h.account(t)
	p := h.pen(t, name)
	p.write("past")
	client := posternv1.NewEventServiceClient(h.grpc)
	stream, err := client.WatchEvents(asAdmin(t.Context()), &posternv1.WatchEventsRequest{Accounts: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetCursor() == "" || first.GetEvent() != nil {
		t.Fatalf("first frame %v, %v", first, err)
	}
	p.write("a", "b")
	var got []string
	for len(got) < 2 {
		f, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if f.GetEvent() != nil {
			got = append(got, f.GetEvent().GetFields()["data"].GetStructValue().GetFields()["detail"].GetStringValue())
		}
	}
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("watched %v", got)
	}
	listed, err := client.ListEvents(asAdmin(t.Context()), &posternv1.ListEventsRequest{Parent: name, AfterCursor: first.GetCursor()})
	if err != nil || len(listed.GetEvents()) != 2 {
		t.Errorf("listed %v, %v", listed, err)
	}
	bad, err := client.WatchEvents(asAdmin(t.Context()), &posternv1.WatchEventsRequest{Cursor: "nonsense"})
	if err == nil {
		_, err = bad.Recv()
	}
	wantStatus(t, err, codes.InvalidArgument, "CURSOR_INVALID")
}

// A watcher that does not take its frames is cut off and told where to go on;
// nobody else is held up.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{events: eventlog.Config{Backlog: 8}})
	name := h.account(t)
	// Small buffers on the way, and nobody who reads.
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/events:watch?accounts=%s HTTP/1.1\r\nHost: postern\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", name, token)
	reader := bufio.NewReader(conn)
	for { // the first frame: the watch is live from here on
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event: heartbeat") {
			break
		}
	}
	p := h.pen(t, name)
	long := strings.Repeat("x", 1800)
	for range 40 { // far more than any socket buffer holds
		batch := make([]string, 200)
		for i := range batch {
			batch[i] = long
		}
		p.write(batch...)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := io.ReadAll(reader)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Logf("read: %v", err)
	}
	text := string(resp)
	i := strings.Index(text, "event: failure")
	if i < 0 || !strings.Contains(text[i:], "SLOW_CONSUMER") || !strings.Contains(text[i:], `"cursor"`) {
		t.Fatalf("%d bytes end with %s", len(text), text[max(0, len(text)-500):])
	}
	if n := strings.Count(text, "event: account.degraded"); n >= 8000 {
		t.Errorf("all %d events came", n)
	}
}
