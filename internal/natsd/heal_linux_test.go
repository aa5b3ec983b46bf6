package natsd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/waittest"
)

// A server whose disk is full says so, loses nothing that it has acknowledged,
// and stores again by itself once there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 24<<20)
	srv, err := natsd.Start(t.Context(), natsd.Config{DataDir: filepath.Join(disk, "data"), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	conn, err := srv.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	publish := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "s", make([]byte, 32<<10))
		return err
	}
	stored := 0
	for ; stored < 20; stored++ {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(disk, "ballast")
	fillUp(t, ballast)
	for err = publish(); err == nil; err = publish() {
		stored++
	}
	t.Logf("after %d messages: %v", stored, err)
	var failure *natsd.StorageError
	waittest.For(t, "the server to say that its disk is full", func() bool {
		return errors.As(srv.Check(), &failure) && failure.Full
	})
	// What is stored can be read.
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Errorf("the stream cannot be looked at: %v", err)
	} else if _, err := stream.GetMsg(t.Context(), 1); err != nil {
		t.Errorf("a stored message cannot be read: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the server to store again", func() bool { return srv.Check() == nil && publish() == nil })
	stored++
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs < uint64(stored) {
		t.Errorf("%d messages are there, %d were acknowledged", info.State.Msgs, stored)
	}
	if srv.Addr() == "" {
		t.Error("the server has no address any more")
	}
}

// fillUp writes a file until there is no space left.
func fillUp(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 64 << 10; size > 0; {
		if _, err = file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// smallDisk mounts a small file system until the test ends, which takes root, or
// sudo without a password, as on the machines of CI services.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) error {
		if os.Geteuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		if out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	options := fmt.Sprintf("size=%d,uid=%d,gid=%d,mode=0700", size, os.Getuid(), os.Getgid())
	if err := run("mount", "-t", "tmpfs", "-o", options, "postern-test", dir); err != nil {
		t.Skipf("a disk that can be full takes root or sudo: %v", err)
	}
	t.Cleanup(func() {
		if err := run("umount", "-l", dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
