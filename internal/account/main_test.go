package account_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain proves that registries, connectors and refreshes leave no goroutine
// behind once they are closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Dovecot lives as long as the test binary.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("os.(*Process).Wait"),
	)
}
