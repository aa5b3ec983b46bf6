package natsd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
	"github.com/postern-mail/postern/internal/waittest"
)

// A reader's view of a server: the log with its copy, and a connection.
type readable struct {
	dir    string
	server *natsd.Server
	owner  jetstream.JetStream
	url    string
}

const logName = "LOG"

func startReadable(t *testing.T) *readable {
	t.Helper()
	r := &readable{dir: t.TempDir()}
	url, err := natsd.CreateCredential(r.dir, "app", "127.0.0.1:4222")
	if err != nil {
		t.Fatal(err)
	}
	r.url = url.Reveal()
	r.start(t)
	_, err = r.owner.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: logName, Subjects: []string{"log.>"}, Storage: jetstream.FileStorage, MaxAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *readable) start(t *testing.T) {
	t.Helper()
	r.server = natsdtest.Start(t, natsd.Config{DataDir: r.dir, Addr: loopback, Readable: logName})
	r.owner = natsdtest.JetStream(t, r.server)
	u := parseURL(t, r.url)
	u.Host = r.server.Addr()
	r.url = u.String()
}

// publish appends to the log.
func (r *readable) publish(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := r.owner.Publish(t.Context(), fmt.Sprintf("log.a%d", i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *readable) connect(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(r.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func (r *readable) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(r.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the copy of the log", func() bool {
		_, err := js.Stream(t.Context(), logName)
		return err == nil
	})
	return js
}

func TestReaderConsumes(t *testing.T) {
	t.Parallel()
	r := startReadable(t)
	r.publish(t, 1, 5)
	js := r.jetStream(t)
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), logName, jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	r.publish(t, 6, 10)
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for i := 1; i <= 10; i++ {
		msg, err := messages.Next(jetstream.NextMaxWait(30 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Data()) != fmt.Sprint(i) || msg.Subject() != fmt.Sprintf("log.a%d", i) || meta.Sequence.Stream != uint64(i) {
			t.Errorf("message %d: %q on %s, sequence %d", i, msg.Data(), msg.Subject(), meta.Sequence.Stream)
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReaderRevoked(t *testing.T) {
	t.Parallel()
	r := startReadable(t)
	r.jetStream(t)
	other, err := natsd.CreateCredential(r.dir, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	connect := func(url string) *nats.Conn {
		conn, err := nats.Connect(url, nats.NoReconnect())
		if err != nil {
			return nil
		}
		t.Cleanup(conn.Close)
		return conn
	}
	var kept *nats.Conn
	waittest.For(t, "the new reader to be let in", func() bool {
		kept = connect(other.Reveal())
		return kept != nil
	})
	ended := connect(r.url)
	if err := natsd.RevokeCredential(r.dir, "app"); err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the connection to be closed", ended.IsClosed)
	if connect(r.url) != nil {
		t.Error("a revoked reader is let in")
	}
	if !kept.IsConnected() {
		t.Error("another reader has lost its connection")
	}
	// New credentials under the same name end the former.
	again, err := natsd.CreateCredential(r.dir, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	waittest.For(t, "the former credentials to end", kept.IsClosed)
	if connect(other.Reveal()) != nil || connect(again.Reveal()) == nil {
		t.Error("the former credentials are good, or the new ones are not")
	}
	// With the last reader the copy goes.
	if err := natsd.RevokeCredential(r.dir, "other"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(r.dir, "jetstream", "COPIER", "streams", logName)
	waittest.For(t, "the copy to be removed", func() bool {
		_, err := os.Stat(copied)
		return errors.Is(err, os.ErrNotExist)
	})
	if unknown, ok := errors.AsType[*natsd.UnknownCredentialError](natsd.RevokeCredential(r.dir, "other")); !ok || unknown.Name != "other" {
		t.Errorf("revoked twice: %v", unknown)
	}
}

// A durable consumer of a reader's goes on after Postern has been started again,
// and after it was killed.
func TestReaderGoesOn(t *testing.T) {
	t.Parallel()
	r := startReadable(t)
	r.publish(t, 1, 10)
	js := r.jetStream(t)
	mine := jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy}
	next := 1
	read := func(js jetstream.JetStream, to int) {
		t.Helper()
		consumer, err := js.CreateOrUpdateConsumer(t.Context(), logName, mine)
		if err != nil {
			t.Fatal(err)
		}
		for ; next <= to; next++ {
			msg, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
			if err != nil {
				t.Fatalf("message %d: %v", next, err)
			}
			if string(msg.Data()) != fmt.Sprint(next) {
				t.Fatalf("got %s, want %d", msg.Data(), next)
			}
			if err := msg.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	read(js, 5)
	natsdtest.Stop(t, r.server)
	r.start(t)
	r.publish(t, 11, 20)
	read(r.jetStream(t), 20)
}

// From an append to the log until a reader has the event, over TCP.
func BenchmarkReader(b *testing.B) {
	dir := b.TempDir()
	server := natsdtest.Start(b, natsd.Config{DataDir: dir, Readable: logName})
	url, err := natsd.CreateCredential(dir, "app", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	owner := natsdtest.JetStream(b, server)
	if _, err := owner.CreateStream(b.Context(), jetstream.StreamConfig{Name: logName, Subjects: []string{"log.>"}}); err != nil {
		b.Fatal(err)
	}
	var consumer jetstream.Consumer
	for consumer == nil {
		conn, err := nats.Connect(url.Reveal())
		if err != nil {
			continue
		}
		b.Cleanup(conn.Close)
		js, err := jetstream.New(conn)
		if err != nil {
			b.Fatal(err)
		}
		consumer, err = js.CreateConsumer(b.Context(), logName, jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			consumer = nil
		}
	}
	messages, err := consumer.Messages()
	if err != nil {
		b.Fatal(err)
	}
	defer messages.Stop()
	for b.Loop() {
		if _, err := owner.Publish(b.Context(), "log.a", make([]byte, 1000)); err != nil {
			b.Fatal(err)
		}
		msg, err := messages.Next()
		if err != nil {
			b.Fatal(err)
		}
		if err := msg.Ack(); err != nil {
			b.Fatal(err)
		}
	}
}
