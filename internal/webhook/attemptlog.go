package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/postern-mail/postern/internal/event"
)

const (
	logStream = "POSTERN_WEBHOOK_LOG"
	logPrefix = "postern.webhooks.attempts." // <webhook>
	logAge    = 7 * 24 * time.Hour
	// logKept is how many attempts of a webhook are kept.
	logKept = 500
	// logQueue is how many attempts may wait to be written.
	logQueue = 4096
	// logBatch is how many are written at once: each write alone would cost the
	// disk as much as an event does.
	logBatch = 200
	// logDelay is how long an attempt waits for others to be written with.
	logDelay = 250 * time.Millisecond
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes, as the API has them.
const (
	Succeeded Outcome = "SUCCEEDED"
	Failed    Outcome = "FAILED"
	Exhausted Outcome = "EXHAUSTED"
)

// Attempt is one request to an endpoint, and what came of it.
type Attempt struct {
	// Sequence is the attempt's place in the log of attempts; 0 for one that is
	// not in it.
	Sequence uint64        `json:"-"`
	EventID  string        `json:"event"`
	Type     event.Type    `json:"type"`
	Account  string        `json:"account,omitempty"`
	Number   int           `json:"attempt"`
	Time     time.Time     `json:"time"`
	Latency  time.Duration `json:"latency"`
	Outcome  Outcome       `json:"outcome"`
	Status   int           `json:"status,omitempty"`
	Error    string        `json:"error,omitempty"`
	// Excerpt is the beginning of the answer's body.
	Excerpt string `json:"excerpt,omitempty"`
	// Next is when the event is tried again.
	Next time.Time `json:"next,omitzero"`
}

// attemptLog keeps the latest attempts. It serves people who look for a fault:
// a crash may lose the last quarter of a second of it, and nothing waits for it.
type attemptLog struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	logger *slog.Logger
	queue  chan *nats.Msg
}

func openAttemptLog(ctx context.Context, js jetstream.JetStream, config Config) (*attemptLog, error) {
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:               logStream,
		Description:        "Postern: the latest attempts to reach webhooks",
		Subjects:           []string{logPrefix + "*"},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           max(config.Replicas, 1),
		MaxMsgsPerSubject:  logKept,
		MaxAge:             logAge,
		AllowAtomicPublish: true,
		Duplicates:         time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", logStream, err)
	}
	return &attemptLog{js: js, stream: stream, logger: config.Logger, queue: make(chan *nats.Msg, logQueue)}, nil
}

// add notes an attempt. It never waits: where the log cannot follow, the
// attempt is left out.
func (l *attemptLog) add(webhook string, a *Attempt) {
	value, err := json.Marshal(a)
	if err != nil {
		l.logger.Error("an attempt cannot be noted", "webhook", webhook, "error", err)
		return
	}
	select {
	case l.queue <- &nats.Msg{Subject: logPrefix + webhook, Header: nats.Header{}, Data: value}:
	default:
	}
}

// run writes what was noted until ctx ends, and then what is left.
func (l *attemptLog) run(ctx context.Context) {
	for {
		var first *nats.Msg
		select {
		case first = <-l.queue:
		case <-ctx.Done():
			return
		}
		l.write(l.gather(ctx, first))
	}
}

// flush writes what is left, at the end.
func (l *attemptLog) flush() {
	for {
		select {
		case first := <-l.queue:
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			l.write(l.gather(ended, first))
		default:
			return
		}
	}
}

// gather waits for company for an attempt.
func (l *attemptLog) gather(ctx context.Context, first *nats.Msg) []*nats.Msg {
	batch := []*nats.Msg{first}
	timer := time.NewTimer(logDelay)
	defer timer.Stop()
	for len(batch) < logBatch {
		select {
		case msg := <-l.queue:
			batch = append(batch, msg)
			continue
		default:
		}
		select {
		case msg := <-l.queue:
			batch = append(batch, msg)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

const logTimeout = 5 * time.Second

func (l *attemptLog) write(batch []*nats.Msg) {
	// It also writes at the end, when the context of all else has ended.
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	var err error
	if len(batch) == 1 {
		_, err = l.js.PublishMsg(ctx, batch[0])
	} else {
		_, err = jetstreamext.PublishMsgBatch(ctx, l.js, batch, jetstreamext.BatchFlowControl{AckFirst: false})
	}
	if err != nil {
		l.logger.Warn("attempts to reach webhooks are not noted", "attempts", len(batch), "error", err)
	}
}

// list gives the attempts of a webhook below a sequence, the newest first. 0 is
// above all. It reads all that is kept of the webhook, which is bounded.
func (l *attemptLog) list(ctx context.Context, webhook string, below uint64) ([]Attempt, error) {
	var found []Attempt
	for a, err := range l.all(ctx, webhook) {
		if err != nil {
			return nil, fmt.Errorf("list the attempts of webhook %s: %w", webhook, err)
		}
		if below == 0 || a.Sequence < below {
			found = append(found, a)
		}
	}
	slices.Reverse(found)
	return found, nil
}

// all gives the attempts of a webhook, the oldest first.
func (l *attemptLog) all(ctx context.Context, webhook string) func(yield func(Attempt, error) bool) {
	return func(yield func(Attempt, error) bool) {
		consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{logPrefix + webhook}})
		if err != nil {
			yield(Attempt{}, err)
			return
		}
		info, err := consumer.Info(ctx)
		if err != nil {
			yield(Attempt{}, err)
			return
		}
		if info.NumPending == 0 {
			return
		}
		// What is noted meanwhile is not waited for.
		streamInfo, err := l.stream.Info(ctx)
		if err != nil {
			yield(Attempt{}, err)
			return
		}
		messages, err := consumer.Messages()
		if err != nil {
			yield(Attempt{}, err)
			return
		}
		defer messages.Stop()
		for {
			msg, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				yield(Attempt{}, err)
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				yield(Attempt{}, err)
				return
			}
			var a Attempt
			if json.Unmarshal(msg.Data(), &a) == nil { // what a later version wrote may not be for us
				a.Sequence = meta.Sequence.Stream
				if !yield(a, nil) {
					return
				}
			}
			if meta.NumPending == 0 || meta.Sequence.Stream >= streamInfo.State.LastSeq {
				return
			}
		}
	}
}

// forget drops the attempts of a webhook.
func (l *attemptLog) forget(ctx context.Context, webhook string) error {
	return l.stream.Purge(ctx, jetstream.WithPurgeSubject(logPrefix+webhook))
}

// lastSuccess is when a request to a webhook last succeeded, as far as the log
// goes back.
func (l *attemptLog) lastSuccess(ctx context.Context, webhook string) (time.Time, error) {
	attempts, err := l.list(ctx, webhook, 0)
	if err != nil {
		return time.Time{}, err
	}
	for _, a := range attempts {
		if a.Outcome == Succeeded {
			return a.Time, nil
		}
	}
	return time.Time{}, nil
}
