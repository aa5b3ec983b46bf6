package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/natsd"
	"github.com/postern-mail/postern/internal/natsdtest"
)

// nodes starts nodes on one NATS.
func nodes(t *testing.T) (node func() *process) {
	t.Helper()
	store := natsdtest.Start(t, natsd.Config{})
	env := []string{"POSTERN_ADMIN_TOKEN=0123456789abcdef0123456789abcdef"}
	key := t.TempDir() + "/secret.key" // all nodes open the same credentials
	return func() *process {
		p := launch(t, env, "serve", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", "--data-dir="+t.TempDir(),
			"--key-file="+key, "--nats-url="+store.URL().Reveal(), toDovecot)
		p.token = "0123456789abcdef0123456789abcdef"
		return p
	}
}

// Of two nodes on one NATS one watches. The other serves the API all the same,
// and takes over when the first is gone; nothing is announced twice.
func TestServeStandby(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	node := nodes(t)
	first := node()
	first.register(t, server, username, password)
	second := node()
	server.Deliver(t, username, "INBOX", mail("one"))
	second.awaitArrivals(t, "one")
	first.kill(t)
	server.Deliver(t, username, "INBOX", mail("two"))
	second.awaitArrivals(t, "one", "two")
	third := node()
	server.Deliver(t, username, "INBOX", mail("three"))
	third.awaitArrivals(t, "one", "two", "three")
	second.stop(t) // gives the lease back, so that nobody waits for its end
	server.Deliver(t, username, "INBOX", mail("four"))
	third.awaitArrivals(t, "one", "two", "three", "four")
}

// A watch of one node goes on at another, by server-sent events and by gRPC alike:
// what came in between is not missed, and nothing comes twice.
func TestWatchResumesOnAnotherNode(t *testing.T) {
	t.Parallel()
	server := dovecottest.Shared(t)
	username, password := server.User(t)
	node := nodes(t)
	first := node()
	first.register(t, server, username, password)
	second := node()

	const created = "message.created"
	stream, err := first.client().watch(t.Context(), "/v1/events:watch?types="+created)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	watch := first.watchGRPC(t, &posternv1.WatchEventsRequest{Types: []string{created}})
	if _, err := watch.Recv(); err != nil { // from here on nothing is missed
		t.Fatal(err)
	}
	server.Deliver(t, username, "INBOX", mail("one"))
	frame, err := stream.await(created)
	if err != nil {
		t.Fatal(err)
	}
	cursor, one := nextEvent(t, watch)
	if one != "one" {
		t.Fatalf("the first node tells %q", one)
	}
	first.kill(t)
	server.Deliver(t, username, "INBOX", mail("two"))
	second.awaitArrivals(t, "one", "two") // before anybody watches again
	server.Deliver(t, username, "INBOX", mail("three"))

	watch = second.watchGRPC(t, &posternv1.WatchEventsRequest{Types: []string{created}, Cursor: cursor})
	events := second.resume(t, "/v1/events:watch?types="+created, frame.id)
	for _, want := range []string{"two", "three"} {
		if _, got := nextEvent(t, watch); got != want {
			t.Errorf("gRPC tells %q, want %q", got, want)
		}
		frame, err := events.await(created)
		if err != nil {
			t.Fatal(err)
		}
		if got := parseEvent(t, frame.data).Data.Envelope.Subject; got != want {
			t.Errorf("server-sent events tell %q, want %q", got, want)
		}
	}
}

var grpcAddress = regexp.MustCompile(`msg=ready .*grpc=(\S+)`)

// watchGRPC watches events by gRPC.
func (p *process) watchGRPC(t *testing.T, request *posternv1.WatchEventsRequest) grpc.ServerStreamingClient[posternv1.WatchEventsResponse] {
	t.Helper()
	conn, err := grpc.NewClient(grpcAddress.FindStringSubmatch(p.stderr.String())[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+p.token), deadline)
	t.Cleanup(cancel)
	stream, err := posternv1.NewEventServiceClient(conn).WatchEvents(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// nextEvent gives the subject of the mail that the next event is about, and the
// cursor after it.
func nextEvent(t *testing.T, stream grpc.ServerStreamingClient[posternv1.WatchEventsResponse]) (cursor, subject string) {
	t.Helper()
	for {
		frame, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if frame.GetEvent() == nil {
			continue
		}
		data, err := frame.GetEvent().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return frame.GetCursor(), parseEvent(t, data).Data.Envelope.Subject
	}
}

func parseEvent(t *testing.T, data []byte) (event cloudEvent) {
	t.Helper()
	if err := json.Unmarshal(data, &event); err != nil {
		t.Fatal(err)
	}
	return event
}

// resume opens the stream of events where another has ended, as browsers do.
func (p *process) resume(t *testing.T, path, lastID string) *eventStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Last-Event-ID", lastID)
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // the stream closes it
	if err != nil {
		t.Fatal(err)
	}
	stream := &eventStream{body: resp.Body, lines: bufio.NewScanner(resp.Body)}
	t.Cleanup(stream.close)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("watching again: %s", resp.Status)
	}
	stream.lines.Buffer(nil, maxAnswer)
	return stream
}
