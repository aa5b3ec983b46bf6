package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// StreamName is the stream of the entries.
	StreamName = "POSTERN_AUDIT"
	subject    = "postern.audit"

	// maxEntry bounds an entry in the stream.
	maxEntry = 8 << 10
	// queued is how many entries wait in memory, batchSize how many are written at
	// once, since each write alone would cost the disk as much, and batchDelay how
	// long an entry waits for others to be written with.
	queued     = 8192
	batchSize  = 200
	batchDelay = 250 * time.Millisecond
	// writeTimeout bounds one write, and retryDelay is the wait after one that failed.
	writeTimeout = 5 * time.Second
	retryDelay   = time.Second
	// closeTimeout bounds the writing of what is left at the end.
	closeTimeout = 5 * time.Second
)

// The bounds of the log unless the operator says otherwise.
const (
	DefaultMaxAge     = 90 * 24 * time.Hour
	DefaultMaxEntries = 1_000_000
)

// Config says how to open a [Log].
type Config struct {
	// Node names this process in entries.
	Node string
	// MaxAge and MaxEntries bound what is kept; the oldest goes first. 0 means the
	// default.
	MaxAge     time.Duration
	MaxEntries int64
	// Replicas is the number of copies in a NATS cluster; 0 means 1.
	Replicas int
	// Logger is told of entries that are lost; nil means nobody is.
	Logger *slog.Logger
}

// Log takes entries and gives them back. It is safe for concurrent use.
type Log struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	config Config
	queue  chan *Entry
	// lost counts entries for which there was no room, since the last that was
	// stored.
	lost atomic.Uint64

	stop context.CancelFunc
	work sync.WaitGroup
}

// Open opens the log, and makes its stream at the first start. Entries can be
// removed from it by age and number alone. Close ends it.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Log, error) {
	if config.MaxAge == 0 {
		config.MaxAge = DefaultMaxAge
	}
	if config.MaxEntries == 0 {
		config.MaxEntries = DefaultMaxEntries
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        StreamName,
		Description: "Postern: who did what, and what came of it",
		Subjects:    []string{subject},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		Replicas:    max(config.Replicas, 1),
		// A bound in bytes would be reserved on the disk.
		MaxMsgs:            config.MaxEntries,
		MaxMsgSize:         maxEntry,
		MaxAge:             config.MaxAge,
		Duplicates:         time.Second,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Log{js: js, stream: stream, config: config, queue: make(chan *Entry, queued), stop: stop}
	l.work.Go(func() { l.run(running) })
	return l, nil
}

// Close writes what is left and ends the log.
func (l *Log) Close() {
	l.stop()
	l.work.Wait()
}

// Add takes an entry, which is stored a moment later. It never waits.
func (l *Log) Add(e *Entry) {
	e.Node = l.config.Node
	select {
	case l.queue <- e:
	default:
		if l.lost.Add(1) == 1 {
			l.config.Logger.Error("the audit log cannot be written as fast as calls come: entries are lost")
		}
	}
}

// run writes entries until ctx ends, and then what is left, for a while.
func (l *Log) run(ctx context.Context) {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, cancel) })()
	for {
		batch := l.gather(ctx)
		if len(batch) == 0 || !l.store(ending, batch) {
			return
		}
	}
}

// store writes entries, and tries until that has worked or ending has ended.
func (l *Log) store(ending context.Context, batch []*Entry) bool {
	for failures := 0; ; failures++ {
		lost := l.lost.Load()
		err := l.write(ending, batch, lost)
		if err == nil {
			l.lost.Add(-lost)
			if failures > 0 {
				l.config.Logger.Info("the audit log is written again")
			}
			return true
		}
		if ending.Err() != nil {
			l.config.Logger.Error("entries of the audit log are lost at the end", "entries", len(batch)+len(l.queue), "error", err)
			return false
		}
		if failures == 0 {
			l.config.Logger.Error("the audit log cannot be written; entries wait in memory", "error", err)
		}
		select {
		case <-ending.Done():
		case <-time.After(retryDelay):
		}
	}
}

// gather waits for an entry and then for company. It gives none when ctx has ended
// and nothing is left.
func (l *Log) gather(ctx context.Context) []*Entry {
	var batch []*Entry
	select {
	case first := <-l.queue:
		batch = append(batch, first)
	case <-ctx.Done():
	}
	timer := time.NewTimer(batchDelay)
	defer timer.Stop()
	wait := timer.C
	for len(batch) < batchSize {
		select {
		case next := <-l.queue:
			batch = append(batch, next)
			continue
		default:
		}
		if ctx.Err() != nil {
			return batch
		}
		select {
		case next := <-l.queue:
			batch = append(batch, next)
		case <-wait:
			return batch
		case <-ctx.Done():
		}
	}
	return batch
}

// write stores entries all at once. Where some were lost before, one more says so.
func (l *Log) write(ctx context.Context, batch []*Entry, lost uint64) error {
	if lost > 0 {
		batch = append([]*Entry{{Time: batch[0].Time, Node: l.config.Node, Lost: lost}}, batch...)
	}
	messages := make([]*nats.Msg, 0, len(batch))
	for _, e := range batch {
		value, err := json.Marshal(e)
		if err == nil && len(value) > maxEntry/2 { // the header is of the message too
			short := *e
			short.Resources = short.Resources[:min(1, len(short.Resources))]
			value, err = json.Marshal(short)
		}
		if err != nil {
			l.config.Logger.Error("an entry of the audit log cannot be written", "method", e.Method, "error", err)
			continue
		}
		messages = append(messages, &nats.Msg{Subject: subject, Header: nats.Header{}, Data: value})
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if len(messages) == 1 {
		_, err := l.js.PublishMsg(ctx, messages[0])
		return err
	}
	_, err := jetstreamext.PublishMsgBatch(ctx, l.js, messages, jetstreamext.BatchFlowControl{AckFirst: false})
	return err
}
