package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// quiet is how long a reader waits for a message before it tells its user
// that none came.
const quiet = 500 * time.Millisecond

var (
	// errQuiet: nothing came for a while, which may be all there is.
	errQuiet = errors.New("no message came")
	// errLost: a message was lost on its way, or the consumer is gone.
	errLost = errors.New("the consumer lost its place")
)

// reader reads the stream in order through a consumer of its own. The server
// does not send a message of such a consumer twice, so a reader watches for
// gaps, and its user opens another one behind the last message that came.
//
// nats.go's ordered consumer does the same, but replaces its consumer in the
// background for as long as it takes, whatever the caller's context says.
type reader struct {
	log        *Log
	consumer   jetstream.Consumer
	messages   jetstream.MessagesContext
	delivered  uint64 // messages that came
	reconnects uint64 // of the connection, when the reader was opened
}

// openReader starts reading at a sequence. prefetch is how many messages may
// be under way.
func (l *Log) openReader(ctx context.Context, subjects []string, from uint64, prefetch int) (*reader, error) {
	reconnects := l.js.Conn().Stats().Reconnects
	consumer, err := l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		FilterSubjects:    subjects,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("read the event log from %d: %w", from, err)
	}
	r := &reader{log: l, consumer: consumer, reconnects: reconnects}
	r.messages, err = consumer.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(prefetch, 4*maxBatchBytes),
		jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("read the event log from %d: %w", from, err)
	}
	return r, nil
}

// next waits for a message. It returns errQuiet after a while without one,
// errLost when the reader is of no more use, and ctx's error.
func (r *reader) next(ctx context.Context) (*Entry, *jetstream.MsgMetadata, error) {
	waitCtx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	msg, err := r.messages.Next(jetstream.NextContext(waitCtx))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case waitCtx.Err() != nil && r.log.js.Conn().Stats().Reconnects == r.reconnects:
		return nil, nil, errQuiet
	default:
		// What was under way when a connection broke is lost.
		return nil, nil, fmt.Errorf("%w: %w", errLost, err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errLost, err)
	}
	r.delivered++
	if meta.Sequence.Consumer != r.delivered {
		return nil, nil, fmt.Errorf("%w: message %d came in place of %d", errLost, meta.Sequence.Consumer, r.delivered)
	}
	entry, err := r.log.entry(msg.Subject(), meta.Sequence.Stream, msg.Headers(), msg.Data(), meta.Timestamp)
	if err != nil {
		// Passed over: what is not an event must not hold up the events.
		r.log.config.Logger.Warn("event log", "error", err)
		return nil, meta, nil
	}
	return entry, meta, nil
}

// close stops reading and deletes the consumer. Without a connection the
// server does that by itself, after the consumer's inactivity threshold.
func (r *reader) close() {
	if r.messages != nil {
		r.messages.Stop()
	}
	if !r.log.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.log.stream.DeleteConsumer(ctx, r.consumer.CachedInfo().Name); err != nil {
		r.log.config.Logger.Debug("delete a consumer of the event log", "error", err)
	}
}
