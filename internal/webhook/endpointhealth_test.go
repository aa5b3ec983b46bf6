package webhook

import (
	"testing"
	"time"
)

// Many requests that fail at once, as while an endpoint restarts, make one short
// pause; each pause that ends with a failure makes the next one longer.
func TestPauses(t *testing.T) {
	t.Parallel()
	c := newCondition(Config{HoldMin: time.Second, HoldMax: 10 * time.Second})
	at := time.Unix(1_000_000, 0)
	for i := range 64 {
		c.failed(at, 0)
		if got, want := c.resting(), i+1 >= holdAfter; got != want {
			t.Errorf("after %d failures: resting %v, want %v", i+1, got, want)
		}
	}
	for _, seconds := range []int{1, 2, 4, 8, 10, 10} {
		until, _ := c.hold()
		if pause, want := until.Sub(at), time.Duration(seconds)*time.Second; pause < want*8/10 || pause > want*12/10 {
			t.Errorf("a pause of %s, want about %s", pause, want)
		}
		at = until
		c.failed(at, 0)
	}
	if _, wasDown := c.succeeded(); !wasDown || c.resting() {
		t.Error("a success does not end it")
	}
	c.failed(at, time.Minute)
	if until, _ := c.hold(); until.Sub(at) < 50*time.Second {
		t.Errorf("asked for a minute, left alone for %s", until.Sub(at))
	}
}
