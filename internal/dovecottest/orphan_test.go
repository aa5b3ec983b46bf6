package dovecottest_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/waittest"
)

// victimVariable makes TestVictim, run in a process of its own, the victim of
// TestKilledTestBinaryLeavesNothing.
const victimVariable = "DOVECOTTEST_VICTIM"

// TestVictim starts a server in a given directory, says where it listens and
// waits for its violent end.
func TestVictim(t *testing.T) {
	t.Parallel()
	if os.Getenv(victimVariable) == "" {
		return
	}
	srv := dovecottest.Shared(t)
	username, _ := srv.User(t)
	srv.Client(t, username) // a session, which must end as well
	fmt.Println(victimVariable, srv.Addr())
	select {}
}

func TestKilledTestBinaryLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "victim") //nolint:usetesting // t.TempDir is closed to the users that Dovecot runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
	victim.Env = append(os.Environ(), victimVariable+"=1", "TMPDIR="+dir)
	victim.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	addr := victimAddr(bufio.NewScanner(output))
	// As harshly as it gets: the whole process group at once.
	if err := syscall.Kill(-victim.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = victim.Wait()
	if addr == "" {
		t.Fatal("the victim did not start its server")
	}

	waittest.For(t, "the server to be gone", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	waittest.For(t, "the server's files to be gone", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 0
	})
}

func victimAddr(output *bufio.Scanner) string {
	for output.Scan() {
		if addr, ok := strings.CutPrefix(output.Text(), victimVariable+" "); ok {
			return addr
		}
	}
	return ""
}
