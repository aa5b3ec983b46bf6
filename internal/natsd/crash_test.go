package natsd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// Set for a copy of the test binary that is to play a process of its own: the
// data directory, and what to do in it.
const (
	childDir  = "POSTERN_TEST_CHILD_DIR"
	childRole = "POSTERN_TEST_CHILD_ROLE"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	role := publishForever
	if os.Getenv(childRole) == "fill" {
		role = fillDisk
	}
	if err := role(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context, dir, role string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRole+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// publishForever prints the sequence of each message that was acknowledged.
func publishForever(ctx context.Context, dir string) error {
	srv, err := natsd.Start(ctx, natsd.Config{DataDir: dir, Addr: loopback})
	if err != nil {
		return err
	}
	conn, err := srv.Connect(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "TEST", Subjects: []string{"test.>"}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return err
	}
	for {
		ack, err := js.Publish(ctx, "test.a", []byte("payload"))
		if err != nil {
			return err
		}
		if _, err := fmt.Println(ack.Sequence); err != nil {
			return err
		}
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acknowledged uint64
	for round := range 3 {
		acknowledged = publishUntilKilled(t, dir, 200)
		srv, err := natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: loopback})
		if err != nil {
			t.Fatalf("round %d: start after the kill: %v", round, err)
		}
		info, err := createStream(t, natsdtest.JetStream(t, srv)).Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.LastSeq < acknowledged || info.State.Msgs != info.State.LastSeq {
			t.Errorf("round %d: %d acknowledged, but the stream holds %d up to %d",
				round, acknowledged, info.State.Msgs, info.State.LastSeq)
		}
		natsdtest.Stop(t, srv)
	}
	if acknowledged < 600 {
		t.Errorf("only %d messages were acknowledged in all", acknowledged)
	}
}

// publishUntilKilled kills a publishing process with SIGKILL after it has
// reported count acknowledgements, and gives the last sequence it reported.
func publishUntilKilled(t *testing.T, dir string, count int) uint64 {
	t.Helper()
	cmd := child(t.Context(), dir, "publish")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		if seen == count {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		// What it managed to report until the kill struck counts as well.
		if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatalf("child said %q", lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return last
}

// fillDisk publishes until the disk takes no more, which a limit on the size of
// files stands for, and prints what Check says before and after.
func fillDisk(ctx context.Context, dir string) error {
	srv, err := natsd.Start(ctx, natsd.Config{DataDir: dir, Addr: loopback})
	if err != nil {
		return err
	}
	conn, err := srv.Connect(ctx)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(time.Second))
	if err != nil {
		return err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "TEST", Subjects: []string{"test.>"}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return err
	}
	fmt.Println("before:", srv.Check())
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		return err
	}
	refused := false
	for range 100 {
		if _, err := js.Publish(ctx, "test.a", make([]byte, 64<<10)); err != nil {
			refused = true
			break
		}
	}
	if !refused {
		return errors.New("the limit had no effect")
	}
	fmt.Println("after:", srv.Check())
	return nil
}

func TestCheckTellsFailedWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := child(t.Context(), dir, "fill").Output()
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(out), "\n")
	if !found || before != "before: <nil>" {
		t.Errorf("before the disk was full, Check said %q", before)
	}
	for _, want := range []string{"after: ", "cannot store", "file too large", dir} {
		if !strings.Contains(after, want) {
			t.Errorf("Check said %q, which lacks %q", after, want)
		}
	}
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
}
