package discover_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain proves that no search leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Dovecot lives as long as the test binary.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("os.(*Process).Wait"),
	)
}
