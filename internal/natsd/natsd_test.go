package natsd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/logtest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

const loopback = "127.0.0.1:0"

func createStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: "TEST", Subjects: []string{"test.>"}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestRestartKeepsDataAndCredentials(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first := natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
	js := natsdtest.JetStream(t, first)
	createStream(t, js)
	for i := range 10 {
		if _, err := js.Publish(t.Context(), "test.a", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	user := parseURL(t, first.URL().Reveal()).User.String()
	// As if someone had copied the file about.
	if err := os.Chmod(filepath.Join(dir, "nats-url"), 0o644); err != nil {
		t.Fatal(err)
	}
	natsdtest.Stop(t, first)

	second := natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
	info, err := createStream(t, natsdtest.JetStream(t, second)).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != 10 {
		t.Errorf("%d messages after a restart, want 10", info.State.Msgs)
	}
	if got := parseURL(t, second.URL().Reveal()).User.String(); got != user {
		t.Error("a restart changed the credentials")
	}
	checkURLFile(t, dir, second)
}

func checkURLFile(t *testing.T, dir string, srv *natsd.Server) {
	t.Helper()
	name := filepath.Join(dir, "nats-url")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		t.Errorf("mode of nats-url is %04o, want 0600", perm)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(content)); got != srv.URL().Reveal() {
		t.Error("nats-url does not hold the server's URL")
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v; want mode 0700", info.Mode(), err)
	}
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	srv := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: loopback})
	right := parseURL(t, srv.URL().Reveal())
	with := func(user *url.Userinfo) string {
		u := *right
		u.User = user
		return u.String()
	}
	cases := map[string]struct {
		url     string
		refused bool
	}{
		"from nats-url":  {right.String(), false},
		"wrong password": {with(url.UserPassword("postern", "wrong")), true},
		"no password":    {with(url.User("postern")), true},
		"wrong user":     {with(url.UserPassword("root", "wrong")), true},
		"none":           {with(nil), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := nats.Connect(c.url, nats.NoReconnect())
			if err == nil {
				conn.Close()
			}
			if c.refused && !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("error %v, want %v", err, nats.ErrAuthorization)
			}
			if !c.refused && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusesRemoteAddresses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ addr, want string }{
		"all interfaces":      {"0.0.0.0:4222", "open to other machines"},
		"all, by leaving out": {":4222", "open to other machines"},
		"all, IPv6":           {"[::]:4222", "open to other machines"},
		"a private address":   {"192.168.1.5:4222", "open to other machines"},
		"a name":              {"db.example.com:4222", "IP address or localhost"},
		"no port":             {"127.0.0.1", "HOST:PORT"},
		"port too high":       {"127.0.0.1:70000", "0 to 65535"},
		"empty":               {"", "HOST:PORT"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, err := natsd.Start(t.Context(), natsd.Config{DataDir: t.TempDir(), Addr: c.addr})
			if err == nil {
				natsdtest.Stop(t, srv)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// Other machines come in by another address than the one listened on. A second
// loopback address stands for theirs where the machine has no network.
func TestListensOnItsAddressOnly(t *testing.T) {
	t.Parallel()
	srv := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: "localhost:0"})
	host, port, err := net.SplitHostPort(srv.Addr())
	if err != nil || host != "127.0.0.1" {
		t.Fatalf("address %q, %v", srv.Addr(), err)
	}
	others := []string{"127.0.0.2"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if network, ok := addr.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			others = append(others, network.IP.String())
		}
	}
	for _, other := range others {
		dialer := net.Dialer{Timeout: 10 * time.Second}
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(other, port))
		if err == nil {
			conn.Close()
			t.Errorf("reachable by %s", other)
		}
	}

	open := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: "0.0.0.0:0", AllowRemote: true})
	if host := parseURL(t, open.URL().Reveal()).Hostname(); host != "127.0.0.1" {
		t.Errorf("the URL of a server on all interfaces names %s", host)
	}
	conn, err := nats.Connect(open.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	_, err = natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: taken.Addr().String()})
	listenErr, ok := errors.AsType[*natsd.ListenError](err)
	if !ok {
		t.Fatalf("error %v, want a ListenError", err)
	}
	if listenErr.Addr != taken.Addr().String() || !strings.Contains(err.Error(), "already listens") {
		t.Errorf("error %q does not say what is wrong", err)
	}
	// The failed start must leave the directory free.
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
}

func TestDataDirInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
	_, err := natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: loopback})
	inUse, ok := errors.AsType[*natsd.InUseError](err)
	if !ok {
		t.Fatalf("error %v, want an InUseError", err)
	}
	if inUse.Dir != dir || inUse.PID != os.Getpid() {
		t.Errorf("got %+v, want directory %s and process %d", inUse, dir, os.Getpid())
	}
	natsdtest.Stop(t, first)
	natsdtest.Start(t, natsd.Config{DataDir: dir, Addr: loopback})
}

func TestDataDirOfOthers(t *testing.T) {
	t.Parallel()
	for mode, warned := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o775: true, 0o777: true} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		var logs bytes.Buffer
		srv := natsdtest.Start(t, natsd.Config{DataDir: dir, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
		natsdtest.Stop(t, srv)
		if got := strings.Contains(logs.String(), "chmod 700"); got != warned {
			t.Errorf("mode %04o: warned is %v: %s", mode, got, logs.String())
		}
	}
}

func TestUnusableDataDir(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string
	}{
		"below a file": {func(t *testing.T, dir string) {
			write(t, filepath.Dir(dir), "")
		}, "cannot be made"},
		"a file": {func(t *testing.T, dir string) {
			mkdir(t, filepath.Dir(dir))
			write(t, dir, "")
		}, "cannot be made"},
		"lock cannot be opened": {func(t *testing.T, dir string) {
			mkdir(t, filepath.Join(dir, "lock"))
		}, "not writable"},
		// /dev/full answers each write with ENOSPC.
		"disk full": {func(t *testing.T, dir string) {
			mkdir(t, dir)
			if err := os.Symlink("/dev/full", filepath.Join(dir, "lock")); err != nil {
				t.Fatal(err)
			}
		}, "no space left on device"},
		"foreign nats-url": {func(t *testing.T, dir string) {
			mkdir(t, dir)
			write(t, filepath.Join(dir, "nats-url"), "nats://127.0.0.1:4222\n")
		}, "remove it"},
		"store not a directory": {func(t *testing.T, dir string) {
			mkdir(t, dir)
			write(t, filepath.Join(dir, "jetstream"), "")
		}, "storage directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "sub", "data")
			c.prepare(t, dir)
			srv, err := natsd.Start(t.Context(), natsd.Config{DataDir: dir, Addr: loopback})
			if err == nil {
				natsdtest.Stop(t, srv)
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %q does not say %q and name the directory", err, c.want)
			}
		})
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStoreLimit(t *testing.T) {
	t.Parallel()
	srv := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: loopback, MaxStore: 1 << 20})
	js := natsdtest.JetStream(t, srv)
	createStream(t, js)
	payload := make([]byte, 256<<10)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = js.Publish(t.Context(), "test.a", payload)
	}
	if err == nil || !strings.Contains(err.Error(), "resource") {
		t.Errorf("error %v past the limit, want one about resources", err)
	}
}

func TestCheckAndConnectAfterShutdown(t *testing.T) {
	t.Parallel()
	srv := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: loopback})
	if err := srv.Check(); err != nil {
		t.Errorf("running: %v", err)
	}
	natsdtest.Stop(t, srv)
	if srv.Check() == nil {
		t.Error("Check is content with a server that was shut down")
	}
	if conn, err := srv.Connect(t.Context()); err == nil {
		conn.Close()
		t.Error("connected to a server that was shut down")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := natsd.Start(canceled, natsd.Config{DataDir: t.TempDir(), Addr: loopback}); !errors.Is(err, context.Canceled) {
		t.Errorf("start with a canceled context: error %v", err)
	}
}

func TestPasswordIsNotLogged(t *testing.T) {
	t.Parallel()
	var logs logtest.Buffer
	logger := slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
	srv := natsdtest.Start(t, natsd.Config{DataDir: t.TempDir(), Addr: loopback, Logger: logger})
	password, _ := parseURL(t, srv.URL().Reveal()).User.Password()
	if conn, err := nats.Connect(srv.URL().Reveal()); err == nil {
		conn.Close()
	}
	u := parseURL(t, srv.URL().Reveal())
	u.User = url.UserPassword("postern", "wrong-canary")
	if _, err := nats.Connect(u.String(), nats.NoReconnect()); err == nil {
		t.Error("wrong password accepted")
	}
	createStream(t, natsdtest.JetStream(t, srv))
	natsdtest.Stop(t, srv)

	out := logs.String() + fmt.Sprintf("%v %+v %#v", srv, srv, srv) + fmt.Sprint(srv.URL())
	if !strings.Contains(out, "authentication error") || !strings.Contains(out, "Shutdown") {
		t.Errorf("the server's messages are missing from the log:\n%s", out)
	}
	for _, canary := range []string{password, "wrong-canary"} {
		if strings.Contains(out, canary) {
			t.Errorf("%s shows:\n%s", canary, out)
		}
	}
}
