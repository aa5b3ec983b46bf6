package eventlog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// deadline is how long a test waits for what must come; it is far beyond what
// a loaded machine needs.
const deadline = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// connect connects over TCP, through addr if that is given.
func connect(t testing.TB, s *natsd.Server, addr string) jetstream.JetStream {
	t.Helper()
	u, err := url.Parse(s.URL().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if addr != "" {
		u.Host = addr
	}
	return natsdtest.Remote(t, u.String(), nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

func open(t testing.TB, js jetstream.JetStream, config eventlog.Config) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(testContext(t), js, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// newLog is a log on a server of its own.
func newLog(t testing.TB, config eventlog.Config) *eventlog.Log {
	t.Helper()
	return open(t, connect(t, natsdtest.Start(t, natsd.Config{}), ""), config)
}

func writer(t testing.TB, l *eventlog.Log, account string) *eventlog.Writer {
	t.Helper()
	w, err := l.Writer(testContext(t), account, 0)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var inbox = folder.Key{1, 2, 3, 4, 5}

// arrived makes message.created events for UIDs from first on.
func arrived(account string, first, count int) []event.Event {
	events := make([]event.Event, count)
	for i := range events {
		id := folder.MessageID{Folder: inbox, UIDValidity: 7, UID: imap.UID(first + i)}
		events[i] = event.New(account, 0, time.Unix(1_700_000_000, 0), &event.MessageCreated{
			MessageRef: event.MessageAt(account, id, "", ""),
			Origin:     event.OriginNew,
			Envelope:   &event.Envelope{Subject: fmt.Sprintf("message %d", first+i)},
		})
		events[i].Checkpoint = &event.Checkpoint{Folder: inbox, UIDValidity: 7, UID: id.UID}
	}
	return events
}

func connected(account string, after uint64) event.Event {
	return event.New(account, after, time.Unix(1_700_000_000, 0), &event.AccountConnected{AccountRef: event.AccountAt(account)})
}

func mustAppend(t testing.TB, w *eventlog.Writer, events ...event.Event) {
	t.Helper()
	if _, err := w.Append(testContext(t), events...); err != nil {
		t.Fatal(err)
	}
}

// replayed is all that the log has of an account.
func replayed(t testing.TB, l *eventlog.Log, account string) []*eventlog.Entry {
	t.Helper()
	var entries []*eventlog.Entry
	_, err := l.Replay(testContext(t), account, eventlog.Head{}, func(e *eventlog.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// wantGapless checks that an account's entries are numbered 1 to n, each id
// once.
func wantGapless(t testing.TB, entries []*eventlog.Entry, n int) {
	t.Helper()
	seen := make(map[string]bool)
	for i, e := range entries {
		if e.Number != uint64(i+1) {
			t.Fatalf("entry %d of %s has number %d", i, e.Account, e.Number)
		}
		if seen[e.ID] {
			t.Fatalf("event %s of %s is in the log twice", e.ID, e.Account)
		}
		seen[e.ID] = true
	}
	if len(entries) != n {
		t.Fatalf("the log has %d events, want %d", len(entries), n)
	}
}

// proxy is a TCP proxy that can lose what the server answers.
type proxy struct {
	listener net.Listener
	target   string

	mu        sync.Mutex
	swallow   func([]byte) bool // of an answer: lose it and cut the connection
	swallowed chan struct{}
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// loseNext makes the proxy cut the connection in place of the next piece of
// an answer that contains a text, and returns a channel that is closed then.
func (p *proxy) loseNext(text string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = func(b []byte) bool { return bytes.Contains(b, []byte(text)) }
	p.swallowed = make(chan struct{})
	return p.swallowed
}

func (p *proxy) lose(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swallow == nil || !p.swallow(b) {
		return false
	}
	p.swallow = nil
	close(p.swallowed)
	return true
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || p.lose(buf[:n]) {
			break
		}
		if _, err := client.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = client.Close()
	<-done
}
