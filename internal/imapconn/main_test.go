package imapconn

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain proves that no test leaves a goroutine behind: a Conn has none, and
// what its contexts start must end with the command. Benchmarks run this binary
// as their server, see benchServer.
func TestMain(m *testing.M) {
	if os.Getenv(benchServerEnv) != "" {
		serveBench()
		return
	}
	goleak.VerifyTestMain(m,
		// The shared Dovecot lives as long as the test binary.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("os.(*Process).Wait"),
	)
}
