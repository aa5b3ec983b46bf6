package webhook

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
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
	eventually(t, "the event to be parked", func() bool {
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
	eventually(t, "the parked event to be dropped", func() bool {
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
	eventually(t, "two dead letters", func() bool {
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
