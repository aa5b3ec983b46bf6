package idle

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/sandbox"
	"github.com/postern-mail/postern/internal/secret"
)

// watchedAccounts is how many accounts share what is measured.
const watchedAccounts = 300

// served tells where the servers of roleServe are.
type served struct {
	NATS string
	IMAP int
}

func serveUntilKilled(ctx context.Context, dir string) error {
	queue, err := natsd.Start(ctx, natsd.Config{DataDir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	server, err := sandbox.Start(ctx, sandbox.Config{})
	if err != nil {
		return err
	}
	for i := range watchedAccounts {
		if err := server.AddUser(fmt.Sprint("user", i), "secret"); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(served{NATS: queue.URL().Reveal(), IMAP: server.TLSPort()}); err != nil {
		return err
	}
	select {}
}

// countingDialer knows how many of its connections are open.
type countingDialer struct{ open atomic.Int64 }

func (d *countingDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.open.Add(1)
	return &countedConn{Conn: conn, dialer: d}, nil
}

type countedConn struct {
	net.Conn
	dialer *countingDialer
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.dialer.open.Add(-1)
	}
	return c.Conn.Close()
}

// BenchmarkRatioWatchedAccount measures the memory of a mailbox that is watched
// over TLS, all included, beside that of a bare TLS connection on which a
// goroutine waits.
func BenchmarkRatioWatchedAccount(b *testing.B) {
	b.Run("IDLE", func(b *testing.B) {
		servers := startServers(b)
		measureWatched(b, servers, target{servers.IMAP, "secret", false})
	})
	// The folders of Dovecot, six of them, are all told of on the one connection.
	b.Run("NOTIFY", func(b *testing.B) {
		server := dovecottest.Start(b)
		measureWatched(b, startServers(b), target{server.TLSPort(), server.Password(), true})
	})
}

// target is a mail server that speaks TLS and has a mailbox for everyone.
type target struct {
	port     int
	password string
	notify   bool // it has NOTIFY
}

func measureWatched(b *testing.B, servers served, to target) {
	b.Helper()
	conn, err := nats.Connect(servers.NATS)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	w := openWorld(b, js, b.TempDir()+"/secret.key")
	dialer := &countingDialer{}
	w.dial = dialer.dial
	// What is measured is memory, not whom the server claims to be.
	w.tls = &tls.Config{InsecureSkipVerify: true}
	w.quiet, w.poll = true, time.Hour
	for b.Loop() {
		bare := memoryOf(func() func() { return w.openBare(to.port) })
		watched := memoryOf(func() func() { return w.watchAll(to, dialer) })
		b.ReportMetric(watched/1024, "KiB/account")
		b.ReportMetric(bare/1024, "KiB/bare-connection")
		b.ReportMetric(watched/bare, "account/bare")
	}
}

func startServers(b *testing.B) served {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+roleServe, childDir+"="+b.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	var servers served
	if err := json.NewDecoder(out).Decode(&servers); err != nil {
		b.Fatal(err)
	}
	return servers
}

// memoryOf gives the memory that one of watchedAccounts takes as long as what
// setUp made is there. setUp returns how to undo it.
func memoryOf(setUp func() func()) float64 {
	before := memoryInUse()
	undo := setUp()
	defer undo()
	return float64(memoryInUse()-before) / watchedAccounts
}

func memoryInUse() int64 {
	runtime.GC()
	runtime.GC() // what was in pools goes with the second
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

// openBare opens TLS connections on which goroutines wait.
func (w *world) openBare(port int) (undo func()) {
	w.t.Helper()
	conns := make([]*tls.Conn, watchedAccounts)
	done := make(chan struct{}, watchedAccounts)
	for i := range conns {
		conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), w.tls)
		if err != nil {
			w.t.Fatal(err)
		}
		conns[i] = conn
		greeting := make([]byte, 512)
		if _, err := conn.Read(greeting); err != nil {
			w.t.Fatal(err)
		}
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			done <- struct{}{}
		}()
	}
	return func() {
		for _, conn := range conns {
			_ = conn.Close()
			<-done
		}
	}
}

// watchAll registers the accounts and watches them until all are connected and
// no request connection is left.
func (w *world) watchAll(to target, dialer *countingDialer) (undo func()) {
	w.t.Helper()
	for i := range watchedAccounts {
		name := fmt.Sprint("user", i)
		_, err := w.accounts.Create(w.t.Context(), &account.Account{
			ID: name, Email: name + "@example.com",
			IMAP: account.Endpoint{
				Host: "127.0.0.1", Port: to.port, TLSMode: account.TLS, Username: name, Password: secret.New(to.password),
			},
		}, "")
		if err != nil {
			w.t.Fatal(err)
		}
	}
	stop := w.start()
	for i := range watchedAccounts {
		if a := w.awaitState(fmt.Sprint("user", i), account.Connected); a.Status.Notify != to.notify {
			w.t.Fatalf("NOTIFY is %v for account %s", a.Status.Notify, a.ID)
		}
	}
	w.await("the request connections to be closed", func() bool { return dialer.open.Load() == watchedAccounts })
	return func() {
		stop()
		for i := range watchedAccounts {
			if err := w.accounts.Delete(w.t.Context(), fmt.Sprint("user", i), ""); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}
