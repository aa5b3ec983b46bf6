package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// grpcLine is where the ready line says that gRPC is served.
var grpcLine = regexp.MustCompile(`grpc"?[=:]"?([^\s",]+)`)

// idlers are connections that do nothing, from many addresses of the loopback network.
type idlers struct {
	t     *testing.T
	conns []net.Conn
}

// open opens a connection from an address, and has it be answered once.
func (i *idlers) open(from, to string, greet func(net.Conn) error) {
	i.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(i.t.Context(), "tcp", to)
	if err != nil {
		i.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := greet(conn); err != nil {
		i.t.Fatalf("connection %d: %v", len(i.conns), err)
	}
	i.conns = append(i.conns, conn)
}

// closed counts those that the other end closes within a time.
func (i *idlers) closed(wait time.Duration) (n int) {
	deadline := time.Now().Add(wait)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, conn := range i.conns {
		all.Go(func() {
			_ = conn.SetReadDeadline(deadline)
			_, err := io.Copy(io.Discard, conn)
			if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			n++
		})
	}
	all.Wait()
	return n
}

func (i *idlers) close() {
	for _, conn := range i.conns {
		_ = conn.Close()
	}
}

// askHealth asks one thing by HTTP/1.1.
func askHealth(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// beginHTTP2 begins HTTP/2 and asks for nothing.
func beginHTTP2(conn net.Conn) error {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	_, err := framer.ReadFrame()
	return err
}

// from is one of many addresses, each for so many connections.
func from(i, each int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/each/250, 1+i/each%250) }

func (p *process) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(string(residentLine.FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

func (p *process) files(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// Connections that do nothing are bounded for each address and in all, and end at the
// time-out. Those with a token are served meanwhile, over new connections.
func TestProofManyIdleConnections(t *testing.T) {
	t.Parallel()
	const each = 100
	n := inForm(1000, 10_000)
	idle := inForm(15*time.Second, 90*time.Second)
	p := serveIn(t, t.TempDir(), fmt.Sprintf("--max-connections=%d", n), fmt.Sprintf("--connections-per-address=%d", each),
		"--idle-timeout="+idle.String())
	rest, grpc := p.base[len("http://"):], grpcLine.FindStringSubmatch(p.stderr.String())[1]
	served := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		client := p.client()
		if _, err := client.call(ctx, http.MethodGet, "/v1/accounts", nil); err != nil {
			t.Fatalf("with a token: %v", err)
		}
	}
	before := p.files(t)

	// Too many from one address are closed.
	crowd := &idlers{t: t}
	for range each {
		crowd.open("127.0.0.9", rest, askHealth)
	}
	tooMany := &idlers{t: t}
	for range 50 {
		tooMany.open("127.0.0.9", rest, func(net.Conn) error { return nil })
	}
	if got := tooMany.closed(patience); got != 50 {
		t.Errorf("of 50 connections too many of one address %d were closed", got)
	}
	tooMany.close()
	crowd.close()
	served()

	// So are the oldest when there are too many in all.
	all := &idlers{t: t}
	defer all.close()
	for _, listener := range []struct {
		name, addr string
		greet      func(net.Conn) error
	}{{"gRPC", grpc, beginHTTP2}, {"HTTP", rest, askHealth}} {
		memory := p.memory(t)
		for range n/2 + n/20 {
			all.open(from(len(all.conns), each), listener.addr, listener.greet)
			if len(all.conns)%(n/10) == 0 {
				served()
			}
		}
		t.Logf("%s: an idle connection takes %.1f KiB", listener.name, float64(p.memory(t)-memory)/float64(n/2+n/20))
	}
	if open := p.files(t) - before; open > n+50 {
		t.Errorf("%d connections are open, where there may be %d", open, n)
	}
	t.Logf("of %d connections %d are open", len(all.conns), p.files(t)-before)
	served()

	// Those of HTTP end at the time-out; those of gRPC have a quarter of an hour.
	web := &idlers{t: t, conns: all.conns[n/2+n/20:]}
	if got := web.closed(idle + patience); got != len(web.conns) {
		t.Errorf("of %d idle connections %d have ended", len(web.conns), got)
	}
	if open := p.files(t) - before; open > n/2+50 {
		t.Errorf("%d connections are open after the time-out", open)
	}
	served()
}
