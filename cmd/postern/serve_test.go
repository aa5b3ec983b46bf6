package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// toDovecot lets a process reach the tests' mail server.
const toDovecot = "--allow-networks=127.0.0.0/8"

// register registers a Dovecot mailbox as account ann, in the words of the API,
// and waits until it is watched.
func (p *process) register(t *testing.T, server *dovecottest.Server, username, password string) {
	t.Helper()
	_, err := p.client().call(t.Context(), http.MethodPost, "/v1/accounts?accountId=ann", json.RawMessage(fmt.Sprintf(
		`{"email":"ann@example.com","imap":{"host":%q,"port":%d,"tlsMode":"PLAINTEXT","username":%q,"password":%q}}`,
		server.Host(), server.Port(), username, password)))
	if err != nil {
		t.Fatal(err)
	}
	p.awaitState(t, "CONNECTED")
}

func (p *process) awaitState(t *testing.T, state string) {
	t.Helper()
	await(t, "account ann to be "+state, func() bool {
		answer, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts/ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		var account struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal(answer, &account); err != nil {
			t.Fatal(err)
		}
		return account.State == state
	})
}

// cloudEvent is what these tests look at of an event.
type cloudEvent struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		Envelope struct {
			Subject string `json:"subject"`
		} `json:"envelope"`
	} `json:"data"`
}

// arrivals are the account's message.created events, by REST.
func (p *process) arrivals(t *testing.T) []cloudEvent {
	t.Helper()
	answer, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts/ann/events?types=message.created", nil)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Events []struct {
			Event cloudEvent `json:"event"`
		} `json:"events"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	events := make([]cloudEvent, len(list.Events))
	for i := range list.Events {
		events[i] = list.Events[i].Event
	}
	return events
}

// awaitArrivals waits until mail with these subjects has been announced, and
// fails if there is more, or another order.
func (p *process) awaitArrivals(t *testing.T, subjects ...string) []cloudEvent {
	t.Helper()
	var events []cloudEvent
	await(t, fmt.Sprintf("%d announcements", len(subjects)), func() bool {
		events = p.arrivals(t)
		return len(events) >= len(subjects)
	})
	got := make([]string, len(events))
	for i, event := range events {
		got[i] = event.Data.Envelope.Subject
	}
	if !slices.Equal(got, subjects) {
		t.Fatalf("announced %q, want %q", got, subjects)
	}
	return events
}

func mail(subject string) []byte {
	return []byte("From: Bob <bob@example.com>\r\nTo: Ann Lee <ann@example.com>\r\nSubject: " + subject +
		"\r\nDate: Mon, 23 Nov 2026 10:15:00 +0000\r\nMessage-ID: <" + subject + "@example.com>\r\n\r\nHello.\r\n")
}

func TestServeMailboxEndToEnd(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	server.Deliver(t, username, "INBOX", mail("old"))
	dir := filepath.Join(t.TempDir(), "data")
	first := serveIn(t, dir, toDovecot, "--log-level=debug")
	for _, name := range []string{"admin-token", "nats-url", "secret.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if perm := info.Mode().Perm(); perm != 0o600 {
			t.Errorf("mode of %s is %04o, want 0600", name, perm)
		}
	}
	if _, err := first.client().call(t.Context(), http.MethodGet, "/readyz", nil); err != nil {
		t.Error(err)
	}
	first.register(t, server, username, password)

	stream, err := first.client().watch(t.Context(), "/v1/events:watch?accounts=accounts/ann&types=message.created")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	subscription := subscribe(t, dir, "postern.events.ann.message.created")
	server.Deliver(t, username, "INBOX", mail("one"))
	frame, err := stream.await("message.created")
	if err != nil {
		t.Fatal(err)
	}
	message, err := subscription.NextMsg(deadline)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(frame.data, message.Data) {
		t.Errorf("the stream has\n%s\nNATS has\n%s", frame.data, message.Data)
	}
	listed := first.awaitArrivals(t, "one")
	var streamed cloudEvent
	if err := json.Unmarshal(frame.data, &streamed); err != nil || streamed != listed[0] {
		t.Errorf("the stream has %+v, the list has %+v (%v)", streamed, listed[0], err)
	}

	first.stop(t) // with a client that watches
	server.Deliver(t, username, "INBOX", mail("two"))
	second := serveIn(t, dir, toDovecot, "--log-level=debug")
	if second.token != first.token {
		t.Error("a restart made a new admin token")
	}
	second.awaitState(t, "CONNECTED")
	again := second.awaitArrivals(t, "one", "two")
	if again[0] != listed[0] {
		t.Errorf("after a restart the event is %+v, it was %+v", again[0], listed[0])
	}

	server.Deliver(t, username, "INBOX", mail("three"))
	second.awaitArrivals(t, "one", "two", "three")
	second.kill(t)
	server.Deliver(t, username, "INBOX", mail("four"))
	third := serveIn(t, dir, toDovecot, "--log-level=debug")
	third.awaitArrivals(t, "one", "two", "three", "four")
	server.Deliver(t, username, "INBOX", mail("five"))
	third.awaitArrivals(t, "one", "two", "three", "four", "five")
	third.stop(t)

	logs := first.stderr.String() + second.stderr.String() + third.stderr.String()
	checkSecrets(t, dir, logs, password, first.token)
}

// subscribe subscribes to the log with what the data directory says.
func subscribe(t *testing.T, dir, subject string) *nats.Subscription {
	t.Helper()
	conn, err := nats.Connect(readURL(t, dir), nats.Timeout(deadline))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	subscription, err := conn.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return subscription
}

// readURL is where clients reach the embedded server of a data directory.
func readURL(t *testing.T, dir string) string {
	t.Helper()
	url, err := os.ReadFile(filepath.Join(dir, "nats-url"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(url))
}

// checkSecrets fails the test if the logs show a secret, or the data directory
// holds the mailbox's password.
func checkSecrets(t *testing.T, dir, logs, password, token string) {
	t.Helper()
	if !strings.Contains(logs, "level=DEBUG") {
		t.Error("the logs are not at debug level")
	}
	_, natsPassword, _ := strings.Cut(strings.TrimPrefix(readURL(t, dir), "nats://"), ":")
	natsPassword, _, _ = strings.Cut(natsPassword, "@")
	for what, canary := range map[string]string{"mailbox's password": password, "admin token": token, "NATS password": natsPassword} {
		if canary == "" || strings.Contains(logs, canary) {
			t.Errorf("the logs show the %s", what)
		}
	}
	forms := []string{password, base64.StdEncoding.EncodeToString([]byte(password))}
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, form := range forms {
			if bytes.Contains(content, []byte(form)) {
				t.Errorf("%s holds the mailbox's password", path)
			}
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("looked into %d files of the data directory: %v", files, err)
	}
}

func TestServeSettingsFromEverywhere(t *testing.T) {
	t.Parallel()
	const given = "token-of-the-environment"
	cases := map[string]func(dir string) (env, args []string){
		"flags": func(dir string) (env, args []string) {
			return nil, append([]string{"--data-dir", dir}, loopback...)
		},
		"environment": func(dir string) (env, args []string) {
			return []string{
				"POSTERN_DATA_DIR=" + dir, "POSTERN_HTTP=127.0.0.1:0", "POSTERN_GRPC=127.0.0.1:0", "POSTERN_NATS=127.0.0.1:0",
			}, nil
		},
		"file": func(dir string) (env, args []string) {
			file := filepath.Join(filepath.Dir(dir), "postern.yaml")
			text := "data-dir: " + dir + "\nhttp: 127.0.0.1:0\ngrpc: 127.0.0.1:0\nnats: 127.0.0.1:0\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return nil, []string{"--config", file}
		},
	}
	for name, settings := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			env, args := settings(dir)
			p := launch(t, append(env, "POSTERN_ADMIN_TOKEN="+given), append([]string{"serve"}, args...)...)
			p.token = given
			if _, err := p.client().call(t.Context(), http.MethodGet, "/v1/accounts", nil); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "admin-token")); err == nil {
				t.Error("a token was given, and one was generated all the same")
			}
			if _, err := os.Stat(filepath.Join(dir, "nats-url")); err != nil {
				t.Error("the data is elsewhere")
			}
			p.stop(t)
		})
	}
}

func TestServeKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serveIn(t, dir).stop(t)
	file := filepath.Join(dir, "secret.key")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	serveIn(t, other).stop(t)
	serve := append([]string{"serve", "--data-dir", dir}, loopback...)
	execute(t, nil, append(serve, "--key-file", filepath.Join(other, "secret.key"))...).
		failed(t, "is not the one that the stored credentials were sealed with")

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	env := []string{"POSTERN_KEY=" + base64.StdEncoding.EncodeToString(right)}
	launch(t, env, serve...).stop(t)
	if _, err := os.Stat(file); err == nil {
		t.Error("a key file was made beside POSTERN_KEY")
	}
}

func TestServeRefusesWhatIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serveIn(t, dir)
	t.Run("data directory", func(t *testing.T) {
		t.Parallel()
		execute(t, nil, append([]string{"serve", "--data-dir", dir}, loopback...)...).
			failed(t, dir+" is in use by process "+fmt.Sprint(first.cmd.Process.Pid))
	})
	for _, flag := range []string{"http", "grpc", "nats"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			addr := taken.Addr().String()
			args := append([]string{"serve", "--data-dir", t.TempDir()}, loopback...)
			execute(t, nil, append(args, "--"+flag, addr)...).
				failed(t, "another process already listens on "+addr, "choose another address with --"+flag)
		})
	}
}

func TestServeExternalNATS(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, natsd.Config{})
	url := server.URL().Reveal()
	serve := func(dir, url string) []string {
		return []string{"serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--log-level=debug", "--data-dir", dir, "--nats-url", url}
	}
	dir := t.TempDir()
	p := launch(t, nil, serve(dir, url)...)
	if _, err := p.client().call(t.Context(), http.MethodGet, "/readyz", nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nats-url")); err == nil {
		t.Error("an embedded server was started, too")
	}
	p.stop(t)
	if strings.Contains(p.stderr.String(), url) {
		t.Error("the log shows the URL with its password")
	}

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	const canary = "canary"
	for name, c := range map[string]struct{ url, says string }{
		"nobody there":   {"nats://ann:" + canary + "@" + closed.Addr().String(), "cannot connect to NATS at " + closed.Addr().String()},
		"token":          {"nats://" + canary + "@" + closed.Addr().String(), "cannot connect to NATS at " + closed.Addr().String()},
		"wrong password": {"nats://postern:" + canary + "@" + server.Addr(), "Authorization Violation"},
		"not a URL":      {"nats://ann:" + canary + "@[::1", "--nats-url: give URLs"},
		"another scheme": {"http://ann:" + canary + "@" + server.Addr(), `the scheme is "http"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := execute(t, nil, serve(t.TempDir(), c.url)...)
			if got.code == exitOK || !strings.Contains(got.stderr, c.says) {
				t.Errorf("code %d, said %q, want %q", got.code, got.stderr, c.says)
			}
			if strings.Contains(got.stderr, canary) {
				t.Errorf("the error shows the password: %s", got.stderr)
			}
		})
	}
}
