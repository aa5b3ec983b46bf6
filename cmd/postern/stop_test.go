package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

func TestServeSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := serveIn(t, t.TempDir())
	// A request whose body does not come holds an orderly stop up.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/accounts HTTP/1.1\r\nHost: postern\r\nAuthorization: Bearer %s\r\n"+
		"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", p.token)
	// The server asks for the body once the handler reads it.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("answer %q (%v)", line, err)
	}
	// One signal makes it stop. Which of the further ones is the first to find
	// it stopping is a matter of the scheduler.
	await(t, "the process to end", func() bool {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails once it has ended
		select {
		case <-p.exited:
			return true
		default:
			return false
		}
	})
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want the signal", p.cmd.ProcessState)
	}
}

func TestBoundedStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	err := boundedStop(ctx, time.Millisecond, func(context.Context) error {
		<-release
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "did not stop within 1ms") {
		t.Errorf("error %v", err)
	}
	err = boundedStop(ctx, deadline, func(ctx context.Context) error { return ctx.Err() })
	if err == nil || err.Error() != "context canceled" {
		t.Errorf("error %v, want that of the function", err)
	}
}

func TestServeOutlivesNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := natsdtest.Start(t, natsd.Config{DataDir: dir})
	p := launch(t, nil, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--data-dir", t.TempDir(), "--nats-url", server.URL().Reveal())
	ready := func() bool {
		_, err := p.client().call(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil
	}
	await(t, "readiness", ready)
	natsdtest.Stop(t, server)
	await(t, "the loss of NATS to be noticed", func() bool { return !ready() })
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: server.Addr()})
	await(t, "readiness after NATS has come back", ready)
	p.stop(t)
}
