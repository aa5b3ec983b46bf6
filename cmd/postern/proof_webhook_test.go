package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process that sends events to an endpoint which fails at random is killed
// again and again. Every event that is in the log has been taken by the endpoint
// in the end, under its one id and with a signature that fits.
func TestProofWebhookKilled(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	// Enough tries for none to be given up by bad luck.
	p.args = append(p.args, "--webhook-waits="+strings.TrimSuffix(strings.Repeat("200ms,", 200), ","))
	p.start()
	p.register(inForm(3, 10))
	sink := newFlakySink(t, p.source(1<<32))
	var cursor struct{ Cursor string }
	if err := p.get("/v1/events:cursor", &cursor); err != nil {
		t.Fatal(err)
	}
	sink.create(p)

	traffic := p.traffic(inForm(150, 5000), inForm(5*time.Second, 5*time.Minute), func(m *mailbox) bool { return m.deliver("INBOX") })
	times := scaled(kills, 4, 50)
	for range times {
		p.pause(inForm(2*time.Second, 6*time.Second))
		p.node.kill(t)
		p.start()
	}
	delivered := traffic.wait()
	p.awaitConnected()
	var missing []string
	p.await("the endpoint to have every event", patience, func() bool {
		logged := p.eventsAfter(cursor.Cursor)
		if logged == nil || created(logged) < delivered {
			return false
		}
		missing = sink.missing(logged)
		return len(missing) == 0
	})
	requests, twice, faults := sink.figures()
	for _, fault := range faults {
		t.Error(fault)
	}
	t.Logf("%d kills, %d deliveries, %d requests, %d events taken more than once, none lost", times, delivered, requests, twice)
}

// eventsAfter lists the events after a cursor, by id, with their types; nil when
// that fails.
func (p *proof) eventsAfter(cursor string) map[string]string {
	found := map[string]string{}
	for {
		var page struct {
			Cursor string
			Events []struct {
				Event struct{ ID, Type string }
			}
		}
		if p.get("/v1/accounts/-/events?pageSize=500&afterCursor="+cursor, &page) != nil {
			return nil
		}
		for _, e := range page.Events {
			found[e.Event.ID] = e.Event.Type
		}
		if len(page.Events) < 500 {
			return found
		}
		cursor = page.Cursor
	}
}

func created(events map[string]string) (n int) {
	for _, typ := range events {
		if typ == "message.created" {
			n++
		}
	}
	return n
}

// flakySink is an endpoint that fails at random: it refuses, cuts connections,
// takes its time, and loses answers to what it took.
type flakySink struct {
	*httptest.Server

	mu       sync.Mutex
	random   *rand.Rand
	secret   string
	taken    map[string]int
	requests int
	faults   []string
}

func newFlakySink(t *testing.T, random *rand.Rand) *flakySink {
	s := &flakySink{random: random, taken: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// create makes a webhook for the endpoint.
func (s *flakySink) create(p *proof) {
	p.t.Helper()
	// Held, so that no request is looked at before the secret is known.
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, err := p.node.client().call(p.t.Context(), http.MethodPost, "/v1/webhooks", json.RawMessage(fmt.Sprintf(`{"url":%q}`, s.URL)))
	if err != nil {
		p.t.Fatal(err)
	}
	var hook struct{ Secret string }
	if err := json.Unmarshal(answer, &hook); err != nil || hook.Secret == "" {
		p.t.Fatalf("%v: %s", err, answer)
	}
	s.secret = hook.Secret
}

func (s *flakySink) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	switch fate := s.take(r.Header, body); {
	case fate < 3: // of 20
		w.WriteHeader(http.StatusInternalServerError)
	case fate < 4:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case fate < 6:
		panic(http.ErrAbortHandler)
	case fate < 8:
		<-time.After(50 * time.Millisecond)
	}
}

// take checks a request and decides what becomes of it: from 5 on it counts as
// taken, so an answer may be lost to one that is.
func (s *flakySink) take(header http.Header, body []byte) (fate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	var e struct{ ID string }
	id := header.Get("Webhook-Id")
	if err := json.Unmarshal(body, &e); err != nil || e.ID != id {
		s.faults = append(s.faults, fmt.Sprintf("webhook-id is %q, the event is %.200s", id, body))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, header.Get("Webhook-Timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || header.Get("Webhook-Signature") != want {
		s.faults = append(s.faults, fmt.Sprintf("event %s: the signature does not fit", id))
	}
	if fate = s.random.IntN(20); fate >= 5 {
		s.taken[id]++
	}
	return fate
}

// missing lists the events that were not taken.
func (s *flakySink) missing(events map[string]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(events)), func(id string) bool { return s.taken[id] > 0 })
}

func (s *flakySink) figures() (requests, twice int, faults []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.taken {
		if n > 1 {
			twice++
		}
	}
	return s.requests, twice, s.faults
}
