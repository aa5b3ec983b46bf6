package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Place is where a durable reader begins.
type Place struct {
	// After is the position before the first event, unless Since is set.
	After Cursor
	// Since begins with the first event that was stored then or later.
	Since time.Time
}

// DurableConfig says what a durable reader gives.
type DurableConfig struct {
	// Name is the reader's, the same on every node and at every start. Begin
	// belongs to the name: it cannot be changed under it.
	Name  string
	Begin Place
	// Filter may be changed: what was not given yet is chosen anew.
	Filter Filter
	// MaxPending is how many events may be given and not yet acknowledged, over
	// all nodes together.
	MaxPending int
	// AckWait is when an event that was neither acknowledged nor extended is
	// given again, perhaps to another node.
	AckWait time.Duration
	// Prefetch is how many events this reader may have under way; 0 means
	// MaxPending.
	Prefetch int
}

// Durable reads the log through a place that the server remembers under a name,
// so that each event is given to one of the nodes that share it, and given again
// until it is acknowledged.
type Durable struct {
	log      *Log
	config   DurableConfig
	consumer jetstream.Consumer
	messages jetstream.MessagesContext
}

// Given is an event that a [Durable] gave.
type Given struct {
	*Entry
	msg jetstream.Msg
}

// Ack says that the event need not be given again.
func (g *Given) Ack() error { return g.msg.Ack() }

// Extend says that the event is still being worked on.
func (g *Given) Extend() error { return g.msg.InProgress() }

// Back gives the event back, to be given again at once.
func (g *Given) Back() error { return g.msg.Nak() }

// Durable makes the reader, or brings it to the config, and begins to read. The
// caller closes it, which leaves the place where it is.
func (l *Log) Durable(ctx context.Context, config DurableConfig) (*Durable, error) {
	d := &Durable{log: l, config: config}
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Durable) open(ctx context.Context) error {
	consumer, err := d.log.stream.CreateOrUpdateConsumer(ctx, d.consumerConfig())
	if err != nil {
		return fmt.Errorf("open the durable reader %s: %w", d.config.Name, err)
	}
	d.consumer = consumer
	d.messages, err = consumer.Messages(
		jetstream.PullMaxMessages(max(1, min(cmp.Or(d.config.Prefetch, d.config.MaxPending), d.config.MaxPending))),
		jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		return fmt.Errorf("open the durable reader %s: %w", d.config.Name, err)
	}
	return nil
}

func (d *Durable) consumerConfig() jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Durable:        d.config.Name,
		FilterSubjects: d.config.Filter.subjects(),
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        d.config.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  max(1, d.config.MaxPending),
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    d.config.Begin.After.sequence + 1,
	}
	switch begin := d.config.Begin; {
	case !begin.Since.IsZero():
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartTimePolicy, 0
		config.OptStartTime = &begin.Since
	case begin.After.incarnation != d.log.incarnation:
		// The stream was made anew: all that it has came later.
		config.OptStartSeq = 1
	}
	return config
}

// Next waits for an event. It fails with ctx's error, after which it may be
// called again; after any other error the reader is to be closed and opened
// anew.
func (d *Durable) Next(ctx context.Context) (*Given, error) {
	for {
		msg, err := d.messages.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil && err != nil:
			return nil, ctx.Err()
		case errors.Is(err, jetstream.ErrNoHeartbeat) && d.log.js.Conn().IsConnected():
			// The pull was lost with the connection, which is back.
			return nil, fmt.Errorf("durable reader %s: %w", d.config.Name, err)
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			continue
		case err != nil:
			return nil, fmt.Errorf("durable reader %s: %w", d.config.Name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("durable reader %s: %w", d.config.Name, err)
		}
		entry, err := d.log.entry(msg.Subject(), meta.Sequence.Stream, msg.Headers(), msg.Data(), meta.Timestamp)
		if err != nil {
			// Passed over: what is not an event must not hold up the events.
			d.log.config.Logger.Warn("event log", "error", err)
			_ = msg.Ack() // else it comes again, and is passed over again
			continue
		}
		if !d.config.Filter.Match(entry) {
			_ = msg.Ack()
			continue
		}
		return &Given{Entry: entry, msg: msg}, nil
	}
}

// Pending counts the events that were not given yet, and those that were and
// are not acknowledged. Events that only this package sorts out are among them.
func (l *Log) Pending(ctx context.Context, durable string) (uint64, error) {
	consumer, err := l.stream.Consumer(ctx, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the state of the durable reader %s: %w", durable, err)
	}
	info := consumer.CachedInfo()
	return info.NumPending + uint64(info.NumAckPending), nil
}

// Close stops reading. What had come and was not given yet goes back at once, to
// be given again, here or on another node.
func (d *Durable) Close() {
	d.messages.Drain()
	for {
		// It ends by itself: nothing comes in any more.
		msg, err := d.messages.Next()
		if err != nil {
			return
		}
		_ = msg.Nak() // without it the event comes when AckWait is over
	}
}

// RemoveDurable forgets a durable reader and its place; one that is not there
// is no error.
func (l *Log) RemoveDurable(ctx context.Context, name string) error {
	err := l.stream.DeleteConsumer(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove the durable reader %s: %w", name, err)
	}
	return nil
}

// Durables lists the durable readers whose names begin with prefix.
func (l *Log) Durables(ctx context.Context, prefix string) ([]string, error) {
	var found []string
	names := l.stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("list the durable readers: %w", err)
	}
	return found, nil
}

// CheckCursor fails with [*CursorExpiredError] when the log no longer has what
// comes after a cursor.
func (l *Log) CheckCursor(ctx context.Context, c Cursor) error {
	b, err := l.bounds(ctx)
	if err != nil {
		return err
	}
	_, err = b.resume(c)
	return err
}
