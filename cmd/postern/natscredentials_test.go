package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/eventlog"
)

// A consumer with credentials of its own gets every event, under the log's
// sequence numbers, however often Postern is killed; until the credentials end.
func TestNATSCredentials(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	dir := t.TempDir()
	p := serveIn(t, dir, toDovecot)
	p.register(t, server, username, password)
	made := execute(t, nil, "nats", "credentials", "--data-dir="+dir, "--name=app1")
	login, err := url.Parse(strings.TrimSpace(made.stdout))
	if err != nil || made.code != exitOK || login.User.Username() != "app1" {
		t.Fatalf("code %d, %q, %q", made.code, made.stdout, made.stderr)
	}
	if own, err := url.Parse(readURL(t, dir)); err != nil || own.Host != login.Host {
		t.Errorf("the URL is %s, of the server %s", login.Host, own.Host)
	}
	if listed := execute(t, nil, "nats", "credentials", "--data-dir="+dir, "--list"); !strings.HasPrefix(listed.stdout, "app1 ") {
		t.Errorf("listed %q", listed.stdout)
	}

	var sent, got []string
	for round := range 3 {
		for i := range 3 {
			subject := fmt.Sprintf("mail%d-%d", round, i)
			server.Deliver(t, username, "INBOX", mail(subject))
			sent = append(sent, subject)
			if i < 2 {
				p.awaitArrivals(t, sent...) // so that they come in this order
			}
		}
		if round > 0 {
			p.kill(t)
			p = serveIn(t, dir, toDovecot)
			own, err := url.Parse(readURL(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			login.Host = own.Host
		}
		got = append(got, consumeArrivals(t, login.String(), len(sent)-len(got))...)
	}
	if fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("got %q, want %q", got, sent)
	}

	if revoked := execute(t, nil, "nats", "credentials", "--data-dir="+dir, "--name=app1", "--revoke"); revoked.code != exitOK {
		t.Errorf("revoke: code %d, %s", revoked.code, revoked.stderr)
	}
	await(t, "the credentials to end", func() bool {
		conn, err := nats.Connect(login.String(), nats.NoReconnect())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	execute(t, nil, "nats", "credentials", "--data-dir="+dir, "--name=app1", "--revoke").failed(t, `no credentials named "app1"`)
}

// consumeArrivals takes the next message.created events with a durable consumer.
func consumeArrivals(t *testing.T, url string, count int) (subjects []string) {
	t.Helper()
	var conn *nats.Conn
	await(t, "the credentials to be good", func() (ok bool) {
		var err error
		conn, err = nats.Connect(url)
		return err == nil
	})
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the copy of the log", func() bool {
		_, err := js.Stream(t.Context(), eventlog.StreamName)
		return err == nil
	})
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), eventlog.StreamName, jetstream.ConsumerConfig{
		Durable: "mine", FilterSubject: "postern.events.*.message.created", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		msg, err := consumer.Next(jetstream.FetchMaxWait(deadline))
		if err != nil {
			t.Fatalf("after %q: %v", subjects, err)
		}
		var event cloudEvent
		if err := json.Unmarshal(msg.Data(), &event); err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, event.Data.Envelope.Subject)
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return subjects
}

// Mistakes in the command line are told as such.
func TestNATSCredentialsUsage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no such directory": {[]string{"--data-dir=/nonexistent"}, exitFailed, "no such file"},
		"bad name":          {[]string{"--data-dir=" + t.TempDir(), "--name=Ann.Lee"}, exitFailed, "does not do"},
		"Postern's own":     {[]string{"--data-dir=" + t.TempDir(), "--name=postern"}, exitFailed, "does not do"},
		"revoke whom":       {[]string{"--revoke"}, exitUsage, "--name"},
		"two things":        {[]string{"--revoke", "--list"}, exitUsage, "--list"},
		"argument":          {[]string{"app1"}, exitUsage, "takes no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := execute(t, nil, append([]string{"nats", "credentials"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
				t.Errorf("code %d, %q, %q", got.code, got.stderr, got.stdout)
			}
		})
	}
}

// Made before the first start, credentials are good once Postern runs.
func TestNATSCredentialsFirst(t *testing.T) {
	t.Parallel()
	made := execute(t, nil, "nats", "credentials", "--data-dir="+t.TempDir(), "--nats=127.0.0.1:4333")
	if login, err := url.Parse(strings.TrimSpace(made.stdout)); err != nil || login.Host != "127.0.0.1:4333" || login.User.Username() != "app" {
		t.Errorf("%q, %q", made.stdout, made.stderr)
	}
}
