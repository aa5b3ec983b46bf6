// Package waittest waits in tests for what comes about by itself.
package waittest

import (
	"testing"
	"time"
)

const (
	// patience is far more than anything takes, also on a crowded machine.
	patience = time.Minute
	interval = 5 * time.Millisecond
)

// For waits until a condition holds, and fails the test when it does not within a
// minute. what completes "waited in vain for …".
func For(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}
