package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
)

const (
	deadStream = "POSTERN_WEBHOOK_DLQ"
	deadPrefix = "postern.webhooks.dead." // <webhook>.<event>
	// deadAge is how long a dead letter is kept.
	deadAge = 30 * 24 * time.Hour
)

// Headers of a dead letter, beside those of a job.
const (
	headerReason = "Postern-Reason"
	headerStatus = "Postern-Status"
	headerTime   = "Postern-Time"
)

// DeadLetter is an event that was given up.
type DeadLetter struct {
	EventID  string
	Type     event.Type
	Account  string
	Attempts int
	Reason   string
	Status   int // of the last answer, 0 when there was none
	Time     time.Time

	sequence uint64
}

// deadLetters keeps what was given up, one message for each webhook and event.
type deadLetters struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

func openDeadLetters(ctx context.Context, js jetstream.JetStream, config Config) (*deadLetters, error) {
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              deadStream,
		Description:       "Postern: events that webhooks never took",
		Subjects:          []string{deadPrefix + ">"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          max(config.Replicas, 1),
		MaxMsgsPerSubject: 1,
		MaxAge:            deadAge,
		Duplicates:        time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", deadStream, err)
	}
	return &deadLetters{js: js, stream: stream}, nil
}

// add gives a job up.
func (d *deadLetters) add(ctx context.Context, j job, status int, reason string) error {
	j.hastened = false
	msg := &nats.Msg{Subject: deadPrefix + j.webhook + "." + j.id, Header: j.header(), Data: j.body}
	// A header is one line.
	msg.Header.Set(headerReason, oneLine(reason))
	msg.Header.Set(headerStatus, strconv.Itoa(status))
	msg.Header.Set(headerTime, formatTime(time.Now()))
	if _, err := d.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("keep event %s of webhook %s as a dead letter: %w", j.id, j.webhook, err)
	}
	return nil
}

// list gives the dead letters of a webhook after a position, in the order in
// which they were given up, and the position behind them, 0 at the end.
func (d *deadLetters) list(ctx context.Context, webhook string, after uint64, limit int) (found []DeadLetter, next uint64, err error) {
	for {
		msg, err := d.get(ctx, after+1, deadPrefix+webhook+".*")
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return found, 0, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("list the dead letters of webhook %s: %w", webhook, err)
		}
		if len(found) == limit {
			return found, after, nil
		}
		after = msg.Sequence
		found = append(found, deadLetter(msg))
	}
}

func (d *deadLetters) get(ctx context.Context, from uint64, subject string) (*jetstream.RawStreamMsg, error) {
	return d.stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
}

func deadLetter(msg *jetstream.RawStreamMsg) DeadLetter {
	attempts, _ := strconv.Atoi(msg.Header.Get(headerAttempts)) // 0 for what cannot be read
	status, _ := strconv.Atoi(msg.Header.Get(headerStatus))
	return DeadLetter{
		EventID: msg.Header.Get(headerEvent), Type: event.Type(msg.Header.Get(headerType)), Account: msg.Header.Get(headerAccount),
		Attempts: attempts, Reason: msg.Header.Get(headerReason), Status: status, Time: parseTime(msg.Header.Get(headerTime)),
		sequence: msg.Sequence,
	}
}

// take reads a dead letter as a job that was never tried.
func (d *deadLetters) take(ctx context.Context, webhook, id string) (j job, sequence uint64, err error) {
	msg, err := d.last(ctx, webhook, id)
	if err != nil {
		return job{}, 0, err
	}
	j, err = parseJob(webhook, msg.Header, msg.Data)
	j.attempts, j.parks = 0, 0
	return j, msg.Sequence, err
}

// last reads the dead letter of an event.
func (d *deadLetters) last(ctx context.Context, webhook, id string) (*jetstream.RawStreamMsg, error) {
	msg, err := d.stream.GetLastMsgForSubject(ctx, deadPrefix+webhook+"."+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("event %s of webhook %s: %w", id, webhook, ErrDeadLetterNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read dead letter %s of webhook %s: %w", id, webhook, err)
	}
	return msg, nil
}

// drop deletes a dead letter.
func (d *deadLetters) drop(ctx context.Context, sequence uint64) error {
	err := d.stream.DeleteMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		// Perhaps it is gone: an event that was sent anew and given up again has
		// taken its place.
		if _, there := d.stream.GetMsg(ctx, sequence); errors.Is(there, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("drop a dead letter: %w", err)
	}
	return nil
}

func (d *deadLetters) count(ctx context.Context, webhook string) (int64, error) {
	return countBySubject(ctx, d.stream, deadPrefix+webhook+".*")
}

// forget drops all dead letters of a webhook.
func (d *deadLetters) forget(ctx context.Context, webhook string) error {
	return d.stream.Purge(ctx, jetstream.WithPurgeSubject(deadPrefix+webhook+".*"))
}

// oneLine makes text fit to stand in a header.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)), " ")
}

// DeadLetters lists what was given up for a webhook after a position, and gives
// the position to go on from, 0 at the end.
func (w *Webhooks) DeadLetters(ctx context.Context, id string, after uint64, limit int) ([]DeadLetter, uint64, error) {
	if _, err := w.registry.load(ctx, id); err != nil {
		return nil, 0, err
	}
	return w.dead.list(ctx, id, after, limit)
}

// DeadLetter reads a dead letter. It fails with [ErrNotFound] and
// [ErrDeadLetterNotFound].
func (w *Webhooks) DeadLetter(ctx context.Context, id, eventID string) (*DeadLetter, error) {
	if _, err := w.registry.load(ctx, id); err != nil {
		return nil, err
	}
	msg, err := w.dead.last(ctx, id, eventID)
	if err != nil {
		return nil, err
	}
	letter := deadLetter(msg)
	return &letter, nil
}

// Redrive sends dead letters anew; no ids mean all that the webhook chooses now. It
// fails with [ErrNotFound], [ErrDisabled], [ErrDeadLetterNotFound] and
// [ErrNotChosen].
func (w *Webhooks) Redrive(ctx context.Context, id string, events []string) (redriven int, err error) {
	hook, err := w.registry.load(ctx, id)
	if err != nil {
		return 0, err
	}
	if hook.Disabled != "" {
		return 0, fmt.Errorf("webhook %s: %w", id, ErrDisabled)
	}
	if len(events) > 0 {
		for _, one := range events {
			if err := w.redrive(ctx, hook.Webhook, one); err != nil {
				return redriven, err
			}
			redriven++
		}
		return redriven, nil
	}
	// Those that come back while this goes on are not sent a second time.
	info, err := w.dead.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("redrive the dead letters of webhook %s: %w", id, err)
	}
	const page = 100
	for after := uint64(0); ; {
		letters, next, err := w.dead.list(ctx, id, after, page)
		if err != nil {
			return redriven, err
		}
		for _, letter := range letters {
			if letter.sequence > info.State.LastSeq {
				return redriven, nil
			}
			err := w.redrive(ctx, hook.Webhook, letter.EventID)
			switch {
			case err == nil:
				redriven++
			case !errors.Is(err, ErrDeadLetterNotFound) && !errors.Is(err, ErrNotChosen):
				return redriven, err
			}
		}
		if next == 0 {
			return redriven, nil
		}
		after = next
	}
}

func (w *Webhooks) redrive(ctx context.Context, hook *Webhook, eventID string) error {
	j, sequence, err := w.dead.take(ctx, hook.ID, eventID)
	if err != nil {
		return err
	}
	if !w.wants(ctx, hook, j) {
		return fmt.Errorf("event %s of webhook %s: %w", eventID, hook.ID, ErrNotChosen)
	}
	// In this order: a crash in between sends it and keeps the letter.
	if err := w.retries.makeDue(ctx, j); err != nil {
		return err
	}
	return w.dead.drop(ctx, sequence)
}

// DropDeadLetter deletes a dead letter. It fails with [ErrNotFound] and
// [ErrDeadLetterNotFound].
func (w *Webhooks) DropDeadLetter(ctx context.Context, id, eventID string) error {
	if _, err := w.registry.load(ctx, id); err != nil {
		return err
	}
	_, sequence, err := w.dead.take(ctx, id, eventID)
	if err != nil {
		return err
	}
	return w.dead.drop(ctx, sequence)
}
