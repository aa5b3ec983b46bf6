package webhook

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/netguard"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/waittest"
)

// verify checks a request's signature by the specification's own words.
func verify(t *testing.T, r request, secret string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.header.Get("webhook-id") + "." + r.header.Get("webhook-timestamp") + "." + string(r.body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Split(r.header.Get("webhook-signature"), " "), want)
}

func TestSendsTheVeryBytesOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	s := newSink(t, nil)
	hook := h.hook(s.URL, func(w *Webhook) {
		w.Headers = map[string]secret.String{"authorization": secret.New("Bearer of-the-endpoint")}
	})
	h.run()
	ids := h.happen("ann", 20)
	s.untilAccepted(t, ids)

	entries, _, err := h.log.List(t.Context(), eventlog.Filter{}, eventlog.Cursor{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(map[string][]byte)
	for _, e := range entries {
		bodies[e.ID] = e.Body
	}
	for _, r := range s.requests() {
		if !bytes.Equal(r.body, bodies[r.id]) {
			t.Errorf("event %s: sent\n%s\nlogged\n%s", r.id, r.body, bodies[r.id])
		}
		if !verify(t, r, hook.Secret.Reveal()) {
			t.Errorf("event %s: the signature %q does not fit", r.id, r.header.Get("webhook-signature"))
		}
		seconds, err := strconv.ParseInt(r.header.Get("webhook-timestamp"), 10, 64)
		if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -time.Minute || age > patience {
			t.Errorf("event %s: timestamp %q", r.id, r.header.Get("webhook-timestamp"))
		}
		for name, want := range map[string]string{
			"Content-Type": "application/cloudevents+json; charset=utf-8", "User-Agent": "Postern-Webhooks/1",
			"Authorization": "Bearer of-the-endpoint",
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("event %s: %s is %q, want %q", r.id, name, got, want)
			}
		}
	}
}

func TestOneBadEventBlocksNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var bad atomic.Value
	bad.Store("")
	s := newSink(t, func(r request) int {
		if r.id == bad.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, nil)
	ids := h.happen("ann", 50)
	bad.Store(ids[3])
	h.run()
	s.untilAccepted(t, slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == ids[3] }))

	var letters []DeadLetter
	waittest.For(t, "a dead letter", func() bool {
		var err error
		if letters, _, err = h.DeadLetters(t.Context(), hook.ID, 0, 10); err != nil {
			t.Fatal(err)
		}
		return len(letters) > 0
	})
	// Three quick tries, and one after each of the waits.
	want := quickly.quickTries() + len(quickly.Parked)
	if l := letters[0]; len(letters) != 1 || l.EventID != ids[3] || l.Attempts != want || l.Status != 500 ||
		l.Type != event.TypeMessageCreated || l.Account != "ann" || time.Since(l.Time) > patience {
		t.Errorf("dead letters: %+v", letters)
	}
	if n := s.count(ids[3]); n != want {
		t.Errorf("it was tried %d times, want %d", n, want)
	}

	bad.Store("")
	if n, err := h.Redrive(t.Context(), hook.ID, nil); n != 1 || err != nil {
		t.Fatalf("redrove %d: %v", n, err)
	}
	s.untilAccepted(t, ids)
	if letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10); len(letters) != 0 || err != nil {
		t.Errorf("still there: %+v, %v", letters, err)
	}
}

func TestLogsAttempts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var n atomic.Int32
	s := newSink(t, func(request) int {
		if n.Add(1) == 1 {
			return http.StatusBadGateway
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, nil)
	h.run()
	id := h.happen("ann", 1)[0]
	var attempts []Attempt
	waittest.For(t, "two attempts in their log", func() bool {
		var err error
		if attempts, err = h.Attempts(t.Context(), hook.ID, 0); err != nil {
			t.Fatal(err)
		}
		return len(attempts) == 2
	})
	second, first := attempts[0], attempts[1]
	if first.Number != 1 || first.Outcome != Failed || first.Status != 502 || first.Next.IsZero() || first.Latency <= 0 ||
		first.Excerpt != "said the sink" || first.EventID != id || !strings.Contains(first.Error, "502") {
		t.Errorf("the first attempt: %+v", first)
	}
	if second.Number != 2 || second.Outcome != Succeeded || second.Status != 200 || !second.Next.IsZero() || second.Error != "" {
		t.Errorf("the second attempt: %+v", second)
	}
	if rest, err := h.Attempts(t.Context(), hook.ID, second.Sequence); err != nil || len(rest) != 1 || rest[0].Sequence != first.Sequence {
		t.Errorf("below the second: %+v, %v", rest, err)
	}
}

// An endpoint that is down for long gets everything once it is back, soon, and
// is not stormed meanwhile.
func TestDownForADayAndBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) {
		c.Schedule = Schedule{Quick: quickly.Quick, Parked: []time.Duration{time.Hour, time.Hour}}
		c.HoldMin, c.HoldMax = 5*time.Millisecond, 20*time.Millisecond
	})
	var up atomic.Bool
	s := newSink(t, func(request) int {
		if up.Load() {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	})
	hook := h.hook(s.URL, nil)
	h.run()
	var ids []string
	for range 20 {
		ids = append(ids, h.happen("ann", 50)...)
	}
	s.until(t, "some tries", func() bool { return len(s.got) > 60 })
	if found, err := h.Get(t.Context(), hook.ID); err != nil || found.FailingSince.IsZero() || !strings.Contains(found.LastError, "503") {
		t.Errorf("the webhook is not said to fail, and why: %+v, %v", found, err)
	}
	backlog, err := h.Backlog(t.Context(), hook)
	if err != nil || backlog.Parked == 0 || backlog.Pending == 0 || backlog.DeadLetters != 0 {
		t.Errorf("backlog %+v, %v", backlog, err)
	}
	// Parked for hours, but sent as soon as the endpoint answers.
	up.Store(true)
	s.untilAccepted(t, ids)
	waittest.For(t, "the webhook to be well", func() bool {
		found, err := h.Get(t.Context(), hook.ID)
		if err != nil {
			t.Fatal(err)
		}
		backlog, err := h.Backlog(t.Context(), hook)
		if err != nil {
			t.Fatal(err)
		}
		return found.FailingSince.IsZero() && found.LastError == "" && backlog == Backlog{}
	})
}

func TestHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"429": http.StatusTooManyRequests, "503": http.StatusServiceUnavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			var first time.Time
			var mu sync.Mutex
			s := newSinkWith(t, func(w http.ResponseWriter, r request) int {
				mu.Lock()
				defer mu.Unlock()
				if first.IsZero() {
					first = r.at
					w.Header().Set("Retry-After", "2")
					return status
				}
				return http.StatusOK
			})
			h.hook(s.URL, func(w *Webhook) { w.MaxConcurrency = 1 })
			h.run()
			ids := h.happen("ann", 5)
			s.untilAccepted(t, ids)
			for i, r := range s.requests()[1:] {
				if d := r.at.Sub(first); d < 1500*time.Millisecond {
					t.Errorf("request %d came %s after the endpoint asked for 2 s", i+2, d)
				}
			}
		})
	}
}

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var gone atomic.Bool
	gone.Store(true)
	s := newSink(t, func(request) int {
		if gone.Load() {
			return http.StatusGone
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, func(w *Webhook) { w.MaxConcurrency = 1; w.Accounts = []string{"ann"} })
	witness := newSink(t, nil)
	h.hook(witness.URL, func(w *Webhook) { w.Types = []event.Type{event.TypeWebhookDisabled} })
	h.run()
	first := h.happen("ann", 1)
	waittest.For(t, "the webhook to be disabled", func() bool {
		found, err := h.Get(t.Context(), hook.ID)
		if err != nil {
			t.Fatal(err)
		}
		return found.Disabled == Gone && !found.DisableTime.IsZero() && found.LastError != ""
	})
	// Others hear of it, by an event that is in the log once.
	witness.until(t, "webhook.disabled", func() bool { return len(witness.got) > 0 })
	if r := witness.requests()[0]; !bytes.Contains(r.body, []byte(`"reason":"GONE"`)) ||
		!bytes.Contains(r.body, []byte(`"source":"/v1/webhooks"`)) || !bytes.Contains(r.body, []byte(`"webhook":"webhooks/`+hook.ID+`"`)) {
		t.Errorf("the event: %s", r.body)
	}
	entries, _, err := h.log.List(t.Context(), eventlog.Filter{Types: []event.Type{event.TypeWebhookDisabled}}, eventlog.Cursor{}, 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d events in the log, %v", len(entries), err)
	}

	if _, err := h.Redrive(t.Context(), hook.ID, nil); err == nil {
		t.Error("dead letters of a disabled webhook are redriven")
	}
	later := h.happen("ann", 3)
	gone.Store(false)
	if _, err := h.Enable(t.Context(), hook.ID); err != nil {
		t.Fatal(err)
	}
	s.untilAccepted(t, later) // what came meanwhile was kept in the log
	if n, err := h.Redrive(t.Context(), hook.ID, first); n != 1 || err != nil {
		t.Fatalf("redrove %d: %v", n, err)
	}
	s.untilAccepted(t, first)
}

func TestDisablesWhatFailsForLong(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.DisableAfter = 200 * time.Millisecond })
	s := newSink(t, func(request) int { return http.StatusNotFound })
	hook := h.hook(s.URL, nil)
	h.run()
	h.happen("ann", 100)
	waittest.For(t, "the webhook to be disabled", func() bool {
		found, err := h.Get(t.Context(), hook.ID)
		if err != nil {
			t.Fatal(err)
		}
		return found.Disabled == Failing
	})
}

func TestKeepsTheOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var n atomic.Int32
	s := newSink(t, func(request) int {
		if n.Add(1)%7 < 4 { // four failures in a row: more than the quick tries
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	h.hook(s.URL, func(w *Webhook) { w.Ordered = true })
	ids := h.happen("ann", 12)
	h.run()
	s.untilAccepted(t, ids)
	var order []string
	for _, r := range s.requests() {
		if len(order) == 0 || order[len(order)-1] != r.id {
			order = append(order, r.id)
		}
	}
	if !slices.Equal(order, ids) {
		t.Errorf("the order is\n%q, want\n%q", order, ids)
	}
}

func TestGivesUpInOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var bad atomic.Value
	bad.Store("")
	s := newSink(t, func(r request) int {
		if r.id == bad.Load() {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, func(w *Webhook) { w.Ordered = true })
	ids := h.happen("ann", 5)
	bad.Store(ids[1])
	h.run()
	s.untilAccepted(t, ids[2:])
	letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10)
	if err != nil || len(letters) != 1 || letters[0].EventID != ids[1] || letters[0].Attempts != quickly.quickTries()+len(quickly.Parked) {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

func TestChooses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for id, team := range map[string]string{"ann": "sales", "bob": "support"} {
		_, err := h.accounts.Create(t.Context(), &account.Account{
			ID: id, Email: id + "@example.com", Labels: map[string]string{"team": team},
			IMAP: account.Endpoint{Host: "mail.example.com", Port: 993, TLSMode: account.TLS, Username: id, Password: secret.New("x")},
		}, "")
		if err != nil {
			t.Fatal(err)
		}
	}
	one, other := folder.Key{1}, folder.Key{2}
	hooks := map[string]func(*Webhook){
		"all":     nil,
		"account": func(w *Webhook) { w.Accounts = []string{"ann"} },
		"label":   func(w *Webhook) { w.AccountLabels = map[string]string{"team": "support"} },
		"type":    func(w *Webhook) { w.Types = []event.Type{event.TypeMessageDeleted} },
		"folder":  func(w *Webhook) { w.Folders = []string{event.FolderName("ann", other)} },
		"folders": func(w *Webhook) { w.Folders = []string{"accounts/bob/folders/-"} },
	}
	sinks := make(map[string]*sink)
	for name, change := range hooks {
		sinks[name] = newSink(t, nil)
		h.hook(sinks[name].URL, change)
	}
	h.run()
	annOne, annOther := h.happenIn("ann", one, 2), h.happenIn("ann", other, 2)
	bob := h.happenIn("bob", one, 2)
	for name, want := range map[string][]string{
		"all": slices.Concat(annOne, annOther, bob), "account": slices.Concat(annOne, annOther), "label": bob,
		"type": nil, "folder": annOther, "folders": bob,
	} {
		sinks[name].untilAccepted(t, want)
	}
	// Everything has passed once the webhook for all has it and no other has more.
	for name, s := range sinks {
		want := map[string]int{"all": 6, "account": 4, "label": 2, "type": 0, "folder": 2, "folders": 2}[name]
		if n := len(s.requests()); n != want {
			t.Errorf("%s: %d requests, want %d", name, n, want)
		}
	}
}

func TestTwoNodesShareTheWork(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	s := newSink(t, nil)
	h.hook(s.URL, nil)
	h.run(h.Webhooks, h.node(nil))
	ids := h.happen("ann", 300)
	s.untilAccepted(t, ids)
	for _, id := range ids {
		if n := s.count(id); n != 1 {
			t.Errorf("event %s was sent %d times", id, n)
		}
	}
}

func TestRestartLosesNothing(t *testing.T) {
	t.Parallel()
	patient := func(c *Config) {
		// None may become a dead letter by bad luck.
		c.Schedule = Schedule{Quick: quickly.Quick, Parked: slices.Repeat([]time.Duration{20 * time.Millisecond}, 100)}
	}
	h := newHouse(t, patient)
	var n atomic.Int32
	s := newSink(t, func(request) int {
		if n.Add(1)%3 == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	h.hook(s.URL, nil)
	var ids []string
	for range 5 {
		stop := h.run(h.node(patient))
		ids = append(ids, h.happen("ann", 40)...)
		before := len(s.requests())
		s.until(t, "some requests", func() bool { return len(s.got) > before+10 })
		stop()
	}
	h.run()
	s.untilAccepted(t, ids)
}

func TestRotatesTheSecret(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	s := newSink(t, nil)
	hook := h.hook(s.URL, nil)
	h.run()
	rotated, err := h.RotateSecret(t.Context(), hook.ID, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if rotated.Secret.Equal(hook.Secret) {
		t.Fatal("the secret is the same")
	}
	a, err := h.Test(t.Context(), hook.ID)
	if err != nil || a.Outcome != Succeeded || a.Status != 204 {
		t.Fatalf("test: %+v, %v", a, err)
	}
	r := s.requests()[0]
	if !verify(t, r, rotated.Secret.Reveal()) || !verify(t, r, hook.Secret.Reveal()) {
		t.Error("not both secrets have signed")
	}
	last, err := h.RotateSecret(t.Context(), hook.ID, rotated.Etag, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Test(t.Context(), hook.ID); err != nil {
		t.Fatal(err)
	}
	r = s.requests()[1]
	if !verify(t, r, last.Secret.Reveal()) || verify(t, r, rotated.Secret.Reveal()) || verify(t, r, hook.Secret.Reveal()) {
		t.Error("a secret that leaked still signs")
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	s := newSink(t, nil)
	early := h.happen("ann", 10)
	hook := h.hook(s.URL, nil)
	h.run()
	late := h.happen("ann", 5)
	s.untilAccepted(t, late)
	if n := s.count(early[0]); n != 0 {
		t.Error("a new webhook got what was there before")
	}
	entries, _, err := h.log.List(t.Context(), eventlog.Filter{}, eventlog.Cursor{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Replay(t.Context(), hook.ID, eventlog.Place{After: entries[3].Cursor}); err != nil {
		t.Fatal(err)
	}
	s.untilAccepted(t, early[4:])
	s.until(t, "a second time", func() bool { return s.accepted[late[4]] == 2 })
	if n := s.count(early[3]); n != 0 {
		t.Error("it went further back than asked for")
	}
	if _, err := h.Replay(t.Context(), hook.ID, eventlog.Place{Since: entries[0].Stored}); err != nil {
		t.Fatal(err)
	}
	s.untilAccepted(t, early)
	waittest.For(t, "the places of before to be gone", func() bool {
		names, err := h.log.Durables(t.Context(), readersPrefix)
		if err != nil {
			t.Fatal(err)
		}
		return len(names) == 1
	})
}

func TestGuardsTargets(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Guard = &netguard.Guard{} })
	s := newSink(t, nil)
	hook := h.hook(s.URL, nil)
	a, err := h.Test(t.Context(), hook.ID)
	if err != nil || a.Outcome != Failed || !strings.Contains(a.Error, "not allowed") {
		t.Errorf("a loopback address: %+v, %v", a, err)
	}
	if len(s.requests()) != 0 {
		t.Error("the request was made")
	}
}

func TestFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	inner := newSink(t, nil)
	s := newSinkWith(t, func(w http.ResponseWriter, _ request) int {
		w.Header().Set("Location", inner.URL)
		return http.StatusTemporaryRedirect
	})
	a, err := h.Test(t.Context(), h.hook(s.URL, nil).ID)
	if err != nil || a.Outcome != Failed || a.Status != 307 || len(inner.requests()) != 0 {
		t.Errorf("%+v, %v; the other endpoint got %d", a, err, len(inner.requests()))
	}
}

func TestTimesOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	release := make(chan struct{})
	s := newSink(t, func(request) int { <-release; return 200 })
	t.Cleanup(func() { close(release) }) // before the sink is closed
	a, err := h.Test(t.Context(), h.hook(s.URL, nil).ID)
	if err != nil || a.Outcome != Failed || !strings.Contains(a.Error, "did not answer within 50ms") {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestReadsLittleOfAnAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	s := newSinkWith(t, func(w http.ResponseWriter, _ request) int {
		w.WriteHeader(http.StatusOK)
		for range 1000 {
			_, _ = w.Write(bytes.Repeat([]byte("\xffé\x00"), 1000))
		}
		return 0
	})
	a, err := h.Test(t.Context(), h.hook(s.URL, nil).ID)
	if err != nil || a.Outcome != Succeeded || len(a.Excerpt) > maxExcerpt || strings.ContainsRune(a.Excerpt, 0) || !strings.HasPrefix(a.Excerpt, "\uFFFDé ") {
		t.Errorf("%+v, %v", a, err)
	}
}

// An answer without an end is read no further than any other, and one that is
// compressed is not unpacked.
func TestAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	zeros := make([]byte, 1<<20)
	var packed bytes.Buffer
	bomb := gzip.NewWriter(&packed)
	_, _ = bomb.Write(zeros)
	_ = bomb.Close()
	for name, piece := range map[string][]byte{"as it is": zeros, "gzip": packed.Bytes()} {
		ended := make(chan int64, 1)
		s := newSinkWith(t, func(w http.ResponseWriter, _ request) int {
			if name == "gzip" {
				w.Header().Set("Content-Encoding", "gzip")
			}
			sent := int64(0)
			for sent < 1<<30 {
				n, err := w.Write(piece)
				if sent += int64(n); err != nil {
					break
				}
			}
			ended <- sent
			return 0
		})
		a, err := h.Test(t.Context(), h.hook(s.URL, nil).ID)
		if err != nil || a.Outcome != Succeeded || len(a.Excerpt) > maxExcerpt || name == "gzip" && !strings.Contains(a.Excerpt, "\uFFFD") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		// What the kernels hold is more than what is read.
		if sent := <-ended; sent > 100<<20 {
			t.Errorf("%s: %d MiB were read", name, sent>>20)
		}
	}
}

func TestDeletionLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Schedule = Schedule{Quick: quickly.Quick, Parked: []time.Duration{time.Hour}} })
	s := newSink(t, func(request) int { return http.StatusTeapot })
	hook := h.hook(s.URL, nil)
	h.run()
	h.happen("ann", 1)
	waittest.For(t, "a parked event", func() bool {
		b, err := h.Backlog(t.Context(), hook)
		if err != nil {
			t.Fatal(err)
		}
		return b.Parked == 1
	})
	if err := h.Delete(t.Context(), hook.ID, hook.Etag+"x"); err == nil {
		t.Error("deleted with another etag")
	}
	if err := h.Delete(t.Context(), hook.ID, ""); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "nothing to be left", func() bool {
		left, err := h.withMessages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names, err := h.log.Durables(t.Context(), readersPrefix)
		if err != nil {
			t.Fatal(err)
		}
		// What was under way may still be noted; the next start tidies up.
		if err := h.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(left) == 0 && len(names) == 0
	})
}
