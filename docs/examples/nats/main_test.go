package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// The example gets events, and started again it goes on where it stopped.
func TestConsumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := natsdtest.Start(t, natsd.Config{DataDir: dir, Readable: eventlog.StreamName})
	url, err := natsd.CreateCredential(dir, "example", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	events, err := eventlog.Open(t.Context(), natsdtest.JetStream(t, server), eventlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Close)
	writer, err := events.Writer(t.Context(), "ann", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"first", "second"} {
		id := folder.MessageID{Folder: folder.Key{1}, UIDValidity: 1, UID: 1}
		ref := event.MessageAt("ann", id, subject, "")
		_, err := writer.Append(t.Context(), event.New("ann", uint64(i), time.Now(), &event.MessageCreated{
			MessageRef: ref, Origin: event.OriginReappeared, Envelope: &event.Envelope{Subject: subject},
		}))
		if err != nil {
			t.Fatal(err)
		}
		reader(t, url.Reveal())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		read, write := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- consume(ctx, url.Reveal(), write) }()
		line, err := bufio.NewReader(read).ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\""+subject+"\"\n") {
			t.Errorf("it printed %q, %v", line, err)
		}
		// The acknowledgement follows; the next event is not the same again.
		acknowledged(t, url.Reveal(), uint64(i+1))
		cancel()
		if err := <-done; err == nil {
			t.Error("it ended by itself")
		}
	}
}

// acknowledged waits until the consumer has acknowledged n events.
func acknowledged(t *testing.T, url string, n uint64) {
	t.Helper()
	js := reader(t, url)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		consumer, err := js.Consumer(t.Context(), "POSTERN_EVENTS", "example")
		if err == nil && consumer.CachedInfo().AckFloor.Consumer >= n {
			return
		}
	}
	t.Fatal("the event is not acknowledged")
}

// reader connects once the credentials are good and there is a log to read.
func reader(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		conn, err := nats.Connect(url)
		if err != nil {
			continue
		}
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Stream(t.Context(), eventlog.StreamName); err == nil {
			t.Cleanup(conn.Close)
			return js
		}
		conn.Close()
	}
	t.Fatal("there is nothing to read")
	return nil
}
