package webhook

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/waittest"
)

// What a webhook does not choose any more is not sent, however long it has waited, nor
// when its dead letters are sent anew: whoever may change the URL would otherwise get
// events of accounts that are not theirs.
func TestChoosesAgainBeforeEachTry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) {
		c.Schedule = Schedule{Quick: quickly.Quick, Parked: []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Second}}
	})
	var down atomic.Bool
	down.Store(true)
	s := newSink(t, func(request) int {
		if down.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, nil)
	h.run()
	waiting := h.happen("ann", 1)
	waittest.For(t, "the event to be parked", func() bool {
		n, err := h.retries.parked(t.Context(), hook.ID)
		return err == nil && n == 1
	})
	_, err := h.Update(t.Context(), hook.ID, "", func(w *Webhook) error {
		w.Accounts = []string{"bob"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the parked event to be dropped", func() bool {
		n, err := h.retries.parked(t.Context(), hook.ID)
		return err == nil && n == 0
	})
	tried := s.count(waiting[0])
	down.Store(false)
	s.untilAccepted(t, h.happen("bob", 3))
	if n := s.count(waiting[0]); n != tried {
		t.Errorf("ann's event was sent %d times after bob's webhook has given it up", n-tried)
	}
	if letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10); err != nil || len(letters) > 0 {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

func TestRedrivesWhatIsChosen(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	var down atomic.Bool
	down.Store(true)
	s := newSink(t, func(request) int {
		if down.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	hook := h.hook(s.URL, nil)
	h.run()
	anns, bobs := h.happen("ann", 1), h.happen("bob", 1)
	waittest.For(t, "two dead letters", func() bool {
		letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10)
		return err == nil && len(letters) == 2
	})
	if _, err := h.Update(t.Context(), hook.ID, "", func(w *Webhook) error { w.Accounts = []string{"bob"}; return nil }); err != nil {
		t.Fatal(err)
	}
	down.Store(false)
	if _, err := h.Redrive(t.Context(), hook.ID, anns); !errors.Is(err, ErrNotChosen) {
		t.Errorf("redriving another account's letter: %v", err)
	}
	if n, err := h.Redrive(t.Context(), hook.ID, nil); n != 1 || err != nil {
		t.Errorf("redrove %d: %v", n, err)
	}
	s.untilAccepted(t, bobs)
	letters, _, err := h.DeadLetters(t.Context(), hook.ID, 0, 10)
	if err != nil || len(letters) != 1 || letters[0].EventID != anns[0] {
		t.Errorf("left are %+v, %v", letters, err)
	}
}

// Who does not see a webhook is told what they would be of one that there is not.
func TestGetSeen(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	hook := h.hook("https://example.com/", func(w *Webhook) { w.Accounts = []string{"ann"} })
	sees := func(id string) func(*Webhook) bool {
		return func(w *Webhook) bool { return w.Accounts[0] == id }
	}
	check := func() {
		t.Helper()
		if got, err := h.GetSeen(t.Context(), hook.ID, sees("ann")); err != nil || got.ID != hook.ID {
			t.Errorf("seen: %v, %v", got, err)
		}
		_, hidden := h.GetSeen(t.Context(), hook.ID, sees("bob"))
		_, missing := h.GetSeen(t.Context(), "nothing", sees("bob"))
		if !errors.Is(hidden, ErrNotFound) || !errors.Is(missing, ErrNotFound) {
			t.Errorf("hidden: %v, missing: %v", hidden, missing)
		}
	}
	check() // on a node that has not heard of it
	h.run()
	waittest.For(t, "the node to hear of it", func() bool { return h.known.get(hook.ID) != nil })
	check()
	if err := h.Delete(t.Context(), hook.ID, ""); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the node to hear that it is gone", func() bool { return h.known.get(hook.ID) == nil })
}
