package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// diskSize is that of the file system with the data directory.
const diskSize = 48 << 20

// The file system with the data directory is full while mail is delivered. The
// process lives on: it reads, refuses what it would have to store, and announces
// the mail when there is space again.
func TestProofDiskFull(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	disk := mountSmall(t)
	p.dir = filepath.Join(disk, "data")
	p.start()
	p.register(scaled(accounts, 3, 20))
	n := scaled(deliveries, 150, 2_000)
	p.traffic(n/4, 0, (*mailbox).act).wait()
	p.awaitAgreement()

	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	full := time.Now()
	traffic := p.traffic(n, scaled(outage, 6*time.Second, 3*time.Minute), (*mailbox).act)
	// What files have left of their last blocks still takes some writes.
	p.await("writes to be refused", patience, func() bool { return p.registerMore() == http.StatusTooManyRequests })
	t.Logf("writes were refused %s after the disk was full", time.Since(full).Round(time.Millisecond))
	for time.Since(full) < scaled(outage, 6*time.Second, 3*time.Minute) {
		fill(t, ballast) // what the process has given up is taken, too
		if err := p.get("/v1/accounts/a0/messages?pageSize=10", nil); err != nil {
			t.Fatalf("a read failed with the disk full: %v", err)
		}
		select {
		case <-p.node.exited:
			t.Fatalf("the process ended with code %d", p.node.cmd.ProcessState.ExitCode())
		case <-time.After(time.Second):
		}
	}
	done := traffic.wait()
	if code := p.registerMore(); code != http.StatusTooManyRequests {
		t.Errorf("a write is answered with %d, want 429", code)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	// The embedded NATS server starts anew, and the log cannot be read meanwhile.
	p.await("readiness", patience, func() bool { return p.get("/readyz", nil) == nil })
	p.await("all accounts to be watched", patience, func() bool { return p.states()["CONNECTED"] == len(p.mailboxes) })
	p.awaitAgreement()
	t.Logf("the disk was full for %s with %d deliveries and changes", back.Sub(full).Round(time.Second), done)
	p.within(time.Minute, "recovered", time.Since(back))
	p.verdict()
}

// registerMore tries to register an account, and gives the HTTP status of the
// answer; 429 is RESOURCE_EXHAUSTED.
func (p *proof) registerMore() int {
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	client := p.node.client()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, client.base+"/v1/accounts", strings.NewReader(
		`{"email":"ann@example.com","imap":{"host":"127.0.0.1","port":1,"tlsMode":"PLAINTEXT","username":"ann","password":"secret"}}`))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+proofToken)
	resp, err := client.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// fill writes a file until there is no space left.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
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

// mountSmall mounts a small file system until the test ends. That takes root, or
// sudo without a password, as on the machines of CI services.
func mountSmall(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) error {
		if os.Geteuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		if out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	options := fmt.Sprintf("size=%d,uid=%d,gid=%d,mode=0700", diskSize, os.Getuid(), os.Getgid())
	if err := run("mount", "-t", "tmpfs", "-o", options, "postern-proof", dir); err != nil {
		t.Fatalf("the proof needs a disk that can be full, which takes root or sudo: %v", err)
	}
	t.Cleanup(func() {
		if err := run("umount", "-l", dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
