package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// browserPage watches events by ticket, from another origin than the gateway's,
// and tells the test of each.
const browserPage = `<!doctype html><script>
const source = new EventSource(%q);
let last = Promise.resolve();
source.addEventListener("message.created", (e) => {
  const id = JSON.parse(e.data).id;
  last = last.then(() => fetch("/seen", { method: "POST", body: id }));
});
source.addEventListener("heartbeat", () => fetch("/beat", { method: "POST" }));
</script>`

// browser is a page in a real Chromium, and what it has seen.
type browser struct {
	*httptest.Server
	mu     sync.Mutex
	page   string
	seen   []string
	beaten bool
}

func (b *browser) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
	case r.URL.Path == "/seen":
		b.seen = append(b.seen, string(body))
	case r.URL.Path == "/beat":
		b.beaten = true
	default:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, b.page)
	}
}

func (b *browser) look() (seen []string, beaten bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.seen...), b.beaten
}

// A browser's EventSource connects by ticket, comes back by itself after the
// process was killed and after it was stopped, and has then seen every event
// once and in order.
func TestProofBrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("this test needs Chromium: %v", err)
	}
	p := newProof(t)
	// Where the process listens must outlast it.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.serve = []string{"--http=" + free.Addr().String(), "--grpc=127.0.0.1:0", "--nats=127.0.0.1:0"}
	_ = free.Close()
	p.start()
	p.register(1)
	var cursor struct{ Cursor string }
	if err := p.get("/v1/events:cursor", &cursor); err != nil {
		t.Fatal(err)
	}
	answer, err := p.node.client().call(t.Context(), http.MethodPost, "/v1/events:ticket", json.RawMessage(`{"types":["message.created"]}`))
	var made struct{ Ticket string }
	if err != nil || json.Unmarshal(answer, &made) != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	b := &browser{page: fmt.Sprintf(browserPage, p.node.base+"/v1/events:watch?ticket="+made.Ticket)}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	run := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--user-data-dir="+t.TempDir(), b.URL)
	// It has processes of its own, which end with it only if they are told to.
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL); _ = run.Wait() })
	p.await("the browser to be connected", patience, func() bool { _, beaten := b.look(); return beaten })

	delivered := 0
	deliver := func() {
		for range 10 {
			p.await("a delivery", patience, func() bool { return p.mailboxes[0].deliver("INBOX") })
			delivered++
		}
	}
	agree := func() {
		p.await("the browser to have seen every event", patience, func() bool { seen, _ := b.look(); return len(seen) >= delivered })
	}
	deliver()
	agree()
	p.node.kill(t)
	deliver() // while nobody is there to see it
	p.start()
	deliver()
	agree()
	p.restart()
	deliver()
	agree()

	var page struct {
		Events []struct{ Event struct{ ID string } }
	}
	if err := p.get("/v1/accounts/-/events?types=message.created&pageSize=500&afterCursor="+cursor.Cursor, &page); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range page.Events {
		want = append(want, e.Event.ID)
	}
	if seen, _ := b.look(); strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("the browser has seen\n%q, the log has\n%q", seen, want)
	}
}
