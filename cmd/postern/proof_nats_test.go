package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// A NATS server of one's own is away while mail is delivered. The mail is
// announced when it is back, and memory does not grow with what has to wait.
func TestProofNATSAway(t *testing.T) {
	t.Parallel()
	p := newProof(t)
	config := natsd.Config{DataDir: t.TempDir()}
	server := natsdtest.Start(t, config)
	config.Addr = server.Addr()
	url := server.URL().Reveal()
	p.external(url)
	p.start()
	p.register(scaled(accounts, 4, 50))
	n := scaled(deliveries, 200, 10_000)
	p.traffic(n/10, 0, (*mailbox).act).wait() // so that memory is in use
	p.awaitAgreement()

	before := p.resident()
	natsdtest.Stop(t, server)
	away := scaled(outage, 5*time.Second, 10*time.Minute)
	traffic := p.traffic(n, away-away/10, (*mailbox).act)
	most := before
	for end := time.Now().Add(away); time.Now().Before(end); <-time.After(250 * time.Millisecond) {
		most = max(most, p.resident())
	}
	done := traffic.wait()
	during := most
	for _, path := range []string{"/v1/accounts/a0", "/v1/accounts/a0/folders", "/v1/accounts/a0/messages?pageSize=10"} {
		if err := p.get(path, nil); err != nil {
			t.Errorf("a read fails: %v", err)
		}
	}
	if p.get("/readyz", nil) == nil {
		t.Error("the process says that it is ready")
	}
	natsdtest.Start(t, config)
	back := time.Now()
	p.await("all accounts to be watched", patience, func() bool {
		most = max(most, p.resident())
		return p.states()["CONNECTED"] == len(p.mailboxes)
	})
	p.awaitAgreement()
	took := time.Since(back)
	most = max(most, p.resident())
	t.Logf("NATS was away for %s with %d deliveries and changes; all was announced %s after its return", away, done, took.Round(100*time.Millisecond))
	t.Logf("resident memory: %d MiB before, at most %d MiB meanwhile, %d MiB with what was announced then", before>>20, during>>20, most>>20)
	if grown := most - before; *long && grown > 64<<20 {
		t.Errorf("resident memory grew by %d MiB, the limit is 64 MiB", grown>>20)
	}
	p.verdict()
}

// external has the process use a NATS server of one's own.
func (p *proof) external(url string) {
	p.serve = []string{"--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--nats-url=" + url}
	p.natsURL = func() string { return url }
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the process's resident memory in bytes, where the system tells.
func (p *proof) resident() int {
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.node.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	found := residentLine.FindSubmatch(status)
	if found == nil {
		p.t.Fatal("the process has no resident memory")
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		p.t.Fatal(err)
	}
	return kilobytes << 10
}
