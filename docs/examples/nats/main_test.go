package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// The example gets events, and started again it goes on where it stopped.
func TestConsumes(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, natsd.Config{})
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		read, write := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- consume(ctx, server.URL().Reveal(), write) }()
		line, err := bufio.NewReader(read).ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\""+subject+"\"\n") {
			t.Errorf("it printed %q, %v", line, err)
		}
		// The acknowledgement follows; the next event is not the same again.
		acknowledged(t, server, uint64(i+1))
		cancel()
		if err := <-done; err == nil {
			t.Error("it ended by itself")
		}
	}
}

// acknowledged waits until the consumer has acknowledged n events.
func acknowledged(t *testing.T, server *natsd.Server, n uint64) {
	t.Helper()
	js := natsdtest.JetStream(t, server)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		consumer, err := js.Consumer(t.Context(), "POSTERN_EVENTS", "example")
		if err == nil && consumer.CachedInfo().AckFloor.Consumer >= n {
			return
		}
	}
	t.Fatal("the event is not acknowledged")
}
