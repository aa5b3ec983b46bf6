package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// loopback lets endpoints be on this machine.
var loopback = &netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// quickly is a schedule that takes a second where the real one takes days.
var quickly = Schedule{
	Quick:  []time.Duration{time.Millisecond, time.Millisecond},
	Parked: []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond},
}

// house is a NATS with an event log, accounts, and webhooks of one node.
type house struct {
	*Webhooks
	t        testing.TB
	js       jetstream.JetStream
	log      *eventlog.Log
	accounts *account.Registry
	box      *secret.Box
	bodies   Bodies
}

// newHouse starts a house; change may alter the settings of its webhooks. It
// sends nothing until run is called.
func newHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	h := &house{t: t, js: natsdtest.JetStream(t, natsdtest.Start(t, natsd.Config{}))}
	var err error
	if h.log, err = eventlog.Open(t.Context(), h.js, eventlog.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.log.Close)
	if h.box, err = secret.OpenFile(filepath.Join(t.TempDir(), "key")); err != nil {
		t.Fatal(err)
	}
	if h.accounts, err = account.Open(t.Context(), h.js, account.Config{Box: h.box}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.accounts.Close)
	h.Webhooks = h.node(change)
	return h
}

// node opens webhooks over the same NATS, as another node does.
func (h *house) node(change func(*Config)) *Webhooks {
	h.t.Helper()
	requests, err := requestid.Open(h.t.Context(), h.js, 1, h.box)
	if err != nil {
		h.t.Fatal(err)
	}
	config := Config{
		Box: h.box, Requests: requests, Log: h.log, Accounts: h.accounts, Guard: loopback, Schedule: quickly,
		HoldMin: 20 * time.Millisecond, HoldMax: 200 * time.Millisecond, AckWait: 20 * time.Second,
		Logger: slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&config)
	}
	w, err := Open(h.t.Context(), h.js, config)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

// run sends events until the returned function is called, or the test ends.
func (h *house) run(nodes ...*Webhooks) (stop func()) {
	h.t.Helper()
	if len(nodes) == 0 {
		nodes = []*Webhooks{h.Webhooks}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, node := range nodes {
		running.Go(func() {
			if err := node.Run(ctx, h.bodies); err != nil {
				h.t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.t.Cleanup(stop)
	return stop
}

// hook creates a webhook with the URL of an endpoint.
func (h *house) hook(url string, change func(*Webhook)) *Webhook {
	h.t.Helper()
	hook := &Webhook{URL: url}
	if change != nil {
		change(hook)
	}
	created, err := h.Create(h.t.Context(), hook, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return created
}

// happen appends n events about new messages to an account's part of the log,
// and gives their ids in order.
func (h *house) happen(account string, n int) []string {
	h.t.Helper()
	return h.happenIn(account, folder.Key{1}, n)
}

func (h *house) happenIn(account string, key folder.Key, n int) []string {
	h.t.Helper()
	writer, err := h.log.Writer(h.t.Context(), account, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	var ids []string
	var events []event.Event
	for range n {
		number := writer.Head().Number + uint64(len(events)) + 1
		id := folder.MessageID{Folder: key, UIDValidity: 1, UID: 1}
		e := event.New(account, number, time.Now(), &event.MessageCreated{
			MessageRef: event.MessageAt(account, id, fmt.Sprintf("email-%d", number), ""),
			Origin:     event.OriginReappeared, // so that each is another fact
			Envelope:   &event.Envelope{Subject: fmt.Sprintf("mail & more <%d>", number)},
		})
		events, ids = append(events, e), append(ids, e.ID)
	}
	if _, err := writer.Append(h.t.Context(), events...); err != nil {
		h.t.Fatal(err)
	}
	return ids
}

// request is what an endpoint got.
type request struct {
	header http.Header
	body   []byte
	id     string
	at     time.Time
}

// sink is an endpoint that remembers what it got.
type sink struct {
	*httptest.Server
	mu       sync.Mutex
	got      []request
	accepted map[string]int // by id, requests that were answered 2xx
	changed  chan struct{}
}

// newSink starts an endpoint. answer says how it answers; nil means 204.
func newSink(t testing.TB, answer func(request) int) *sink {
	return newSinkWith(t, func(_ http.ResponseWriter, r request) int {
		if answer == nil {
			return http.StatusNoContent
		}
		return answer(r)
	})
}

func newSinkWith(t testing.TB, answer func(http.ResponseWriter, request) int) *sink {
	t.Helper()
	s := &sink{accepted: make(map[string]int), changed: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got := request{header: r.Header, body: body, id: r.Header.Get("webhook-id"), at: time.Now()}
		s.note(func() { s.got = append(s.got, got) })
		status := answer(w, got)
		if status/100 == 2 {
			s.note(func() { s.accepted[got.id]++ })
		}
		if status == 0 {
			return // it has answered
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "said the sink")
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits for a condition on what the endpoint got.
func (s *sink) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		n, accepted := len(s.got), len(s.accepted)
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s: the endpoint has had %d requests and accepted %d events", what, n, accepted)
		}
	}
}

// untilAccepted waits until all of the events were accepted.
func (s *sink) untilAccepted(t testing.TB, ids []string) {
	t.Helper()
	s.until(t, fmt.Sprintf("%d events", len(ids)), func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return s.accepted[id] == 0 })
	})
}

func (s *sink) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) count(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.got {
		if r.id == id {
			n++
		}
	}
	return n
}
