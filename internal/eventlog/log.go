// Package eventlog is the durable log of what happened in all mailboxes: one
// JetStream stream, to which each account's owner appends with a compare-and-set
// and from which everyone reads by cursor.
//
// The log holds each event exactly once and in order per account: an append
// states the account's last sequence, and after any doubt about its outcome
// the [Writer] compares what is stored before it tries again.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
)

// StreamName is the stream that holds the log.
const StreamName = "POSTERN_EVENTS"

// duplicateWindow only has to outlast a retry after a lost acknowledgement:
// the compare-and-set is what keeps events single. The server holds every id
// of the window in memory, half a gigabyte for a million of them.
const duplicateWindow = 20 * time.Second

// Config says how the log is kept. The zero value is good for one node.
type Config struct {
	// MaxAge is how long events stay; 0 means 7 days.
	MaxAge time.Duration
	// MaxBytes bounds the log; the oldest events go first. 0 means no bound.
	MaxBytes int64
	// Replicas is the number of NATS servers that keep a copy; 0 means 1.
	Replicas int
	// AckTimeout is how long one attempt to append waits for its answer
	// before the log is asked what became of it; 0 means 5 s.
	AckTimeout time.Duration
	// Heartbeat is how long a quiet [Subscription] waits before it gives a
	// frame without an event; 0 means 20 s.
	Heartbeat time.Duration
	// Backlog is how many events a watcher may fall behind the log before it
	// is cut off with [*SlowConsumerError]; 0 means 1,024.
	Backlog int
	// Logger gets what no caller is told, such as a consumer made anew; nil
	// means none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxAge == 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = 5 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 20 * time.Second
	}
	if c.Backlog == 0 {
		c.Backlog = 1024
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// streamConfig is how the stream has to be.
func (c Config) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamName,
		Description: "Postern's event log",
		Subjects:    []string{event.SubjectAll},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		Storage:     jetstream.FileStorage,
		Replicas:    c.Replicas,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		Duplicates:  duplicateWindow,
		// A batch is stored whole or not at all.
		AllowAtomicPublish: true,
		// The head of an account is compared before an append is tried again:
		// that read must come from the leader, which direct gets need not.
		AllowDirect: false,
		// Nothing edits history; purging stays possible, because an account's
		// data may have to be erased before it is old.
		DenyDelete: true,
	}
}

// ErrClosed is returned by what is used after [Log.Close].
var ErrClosed = errors.New("the event log is closed")

// Log is the event log. Its methods may be called concurrently.
type Log struct {
	js          jetstream.JetStream
	stream      jetstream.Stream
	config      Config
	incarnation Incarnation
	// batches bounds the batches in flight from this node: the server refuses
	// more than 50 at a time on one stream.
	batches chan struct{}

	mu     sync.Mutex
	closed bool
	hub    *hub // nil while nobody watches
	hubs   sync.WaitGroup
}

// Open creates the stream, or brings it to config, and returns the log.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Log, error) {
	config = config.withDefaults()
	stream, err := js.CreateOrUpdateStream(ctx, config.streamConfig())
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	return &Log{
		js:          js,
		stream:      stream,
		config:      config,
		incarnation: incarnationOf(stream.CachedInfo()),
		batches:     make(chan struct{}, 16),
	}, nil
}

// Close ends all subscriptions and waits for what the log runs to end. The
// connection to NATS is the caller's and stays open.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	hub := l.hub
	l.hub = nil
	l.mu.Unlock()
	if hub != nil {
		hub.fail(ErrClosed)
		hub.cancel()
	}
	l.hubs.Wait()
}

// Incarnation tells this stream from one that was deleted and made anew.
func (l *Log) Incarnation() Incarnation { return l.incarnation }

// Ends gives the cursors of the log's two ends: what is listed after oldest is
// everything there is, what is listed after head has not happened yet.
func (l *Log) Ends(ctx context.Context) (oldest, head Cursor, err error) {
	b, err := l.bounds(ctx)
	if err != nil {
		return Cursor{}, Cursor{}, err
	}
	return b.oldest(), b.head(), nil
}

// Head gives the cursor of the log's end: what is watched after it has not
// happened yet.
func (l *Log) Head(ctx context.Context) (Cursor, error) {
	_, head, err := l.Ends(ctx)
	return head, err
}

// bounds is where the log begins and ends, as the stream's leader knows it.
type bounds struct {
	incarnation Incarnation
	first, last uint64 // first is last+1 when the log is empty
}

func (b bounds) oldest() Cursor { return Cursor{incarnation: b.incarnation, sequence: b.first - 1} }
func (b bounds) head() Cursor   { return Cursor{incarnation: b.incarnation, sequence: b.last} }

func (l *Log) bounds(ctx context.Context) (bounds, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return bounds{}, fmt.Errorf("ask for the state of the event log: %w", err)
	}
	b := bounds{incarnation: incarnationOf(info), first: info.State.FirstSeq, last: info.State.LastSeq}
	if info.State.Msgs == 0 {
		b.first = b.last + 1
	}
	return b, nil
}

// resume gives the sequence that after stands for, or [*CursorExpiredError].
// The zero cursor is the oldest.
func (b bounds) resume(after Cursor) (uint64, error) {
	if after.IsZero() {
		return b.first - 1, nil
	}
	if after.incarnation != b.incarnation || after.sequence < b.first-1 || after.sequence > b.last {
		return 0, &CursorExpiredError{Oldest: b.oldest(), Head: b.head()}
	}
	return after.sequence, nil
}

// at is the cursor of a sequence in this log.
func (l *Log) at(sequence uint64) Cursor {
	return Cursor{incarnation: l.incarnation, sequence: sequence}
}
