package idle

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/event"
)

// existsClock notes when a line with EXISTS came over a connection.
type existsClock struct {
	mu   sync.Mutex
	last time.Time
}

func (c *existsClock) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	return &clockedConn{conn, c}, err
}

func (c *existsClock) seen() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

type clockedConn struct {
	net.Conn
	clock *existsClock
}

func (c *clockedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// While the watcher waits it reads a byte at first, so the asterisk of an
	// untagged line is what it sees of a push before anything else.
	if now := time.Now(); bytes.Contains(p[:n], []byte("EXISTS")) || n == 1 && p[0] == '*' {
		c.clock.mu.Lock()
		c.clock.last = now
		c.clock.mu.Unlock()
	}
	return n, err
}

// latencySamples is how many messages are delivered, one after the other.
// Dovecot holds a push back for up to half a second, so more take long.
const latencySamples = 100

// BenchmarkRatioEventLatency measures the time from Dovecot's EXISTS on the
// wire until a NATS client has the event, beside the round trip of the FETCH
// alone that lies in it.
func BenchmarkRatioEventLatency(b *testing.B) {
	w := newWorld(b)
	server := dovecottest.Shared(b)
	user, password := server.User(b)
	w.register("ann", server.Host(), server.Port(), user, password)
	clock := &existsClock{}
	w.dial = clock.dial
	w.poll = time.Hour
	w.start()
	w.awaitState("ann", account.Connected)
	events := subscribe(b, w, "ann")
	raw := rawFetcher(b, server, user, password)

	for b.Loop() {
		var latencies, floors []time.Duration
		for i := range latencySamples {
			uid := server.Deliver(b, user, "INBOX", mail(fmt.Sprintf("sample %d", i)))
			received := <-events
			latencies = append(latencies, received.Sub(clock.seen()))
			floors = append(floors, raw(fmt.Sprintf("UID FETCH %d (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE MODSEQ PREVIEW)", uid)))
		}
		slices.Sort(latencies)
		slices.Sort(floors)
		report := func(name string, d time.Duration) { b.ReportMetric(float64(d.Microseconds())/1000, name) }
		report("ms-p50", latencies[len(latencies)/2])
		report("ms-p99", latencies[len(latencies)*99/100])
		report("fetch-ms-p50", floors[len(floors)/2])
		report("fetch-ms-p99", floors[len(floors)*99/100])
		b.ReportMetric(float64(latencies[len(latencies)/2])/float64(floors[len(floors)/2]), "latency/fetch")
	}
}

// subscribe gives the times at which a JetStream consumer of an account's new
// mail receives each event.
func subscribe(b *testing.B, w *world, id string) <-chan time.Time {
	b.Helper()
	consumer, err := w.js.OrderedConsumer(b.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{event.Subject(id, event.TypeMessageCreated)},
		DeliverPolicy:  jetstream.DeliverNewPolicy,
	})
	if err != nil {
		b.Fatal(err)
	}
	times := make(chan time.Time, latencySamples)
	consuming, err := consumer.Consume(func(jetstream.Msg) { times <- time.Now() })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(consuming.Stop)
	return times
}

// rawFetcher gives a function that times one command on a bare connection with
// INBOX open: write, then read until the completion.
func rawFetcher(b *testing.B, server *dovecottest.Server, user, password string) func(command string) time.Duration {
	b.Helper()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	buf := make([]byte, 1<<16)
	run := func(command string) time.Duration {
		began := time.Now()
		if _, err := fmt.Fprintf(conn, "a %s\r\n", command); err != nil {
			b.Fatal(err)
		}
		var got []byte
		for !bytes.Contains(got, []byte("\r\na OK")) && !bytes.HasPrefix(got, []byte("a OK")) {
			n, err := conn.Read(buf)
			if err != nil {
				b.Fatalf("%s: %v after %q", command, err, got)
			}
			got = append(got, buf[:n]...)
		}
		return time.Since(began)
	}
	run(fmt.Sprintf("LOGIN %q %q", user, password))
	run("EXAMINE INBOX")
	return func(command string) time.Duration {
		run("NOOP") // the message is news to this connection
		return run(command)
	}
}
