package imapconn

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain proves that no test leaves a goroutine behind: a Conn has none, and
// what its contexts start must end with the command.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The shared Dovecot lives as long as the test binary.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("os.(*Process).Wait"),
	)
}
