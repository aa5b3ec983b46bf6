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
)

const (
	retryStream  = "POSTERN_WEBHOOK_RETRY"
	parkedPrefix = "postern.webhooks.parked." // <webhook>.<event>
	duePrefix    = "postern.webhooks.due."    // <webhook>
	dueConsumer  = "due"

	// duePending bounds the parked events that are in hand on all nodes.
	duePending = 1024
)

// retries keeps the events that were not taken until it is time to try them
// again. Each is a scheduled message on a subject of its own, which the server
// moves to the webhook's subject of due events at its time. That survives
// restarts, needs no node to keep a clock, and gives each due event to one node.
type retries struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

func openRetries(ctx context.Context, js jetstream.JetStream, config Config) (*retries, error) {
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              retryStream,
		Description:       "Postern: events that webhooks did not take, until they are tried again",
		Subjects:          []string{parkedPrefix + ">", duePrefix + ">"},
		Retention:         jetstream.WorkQueuePolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          max(config.Replicas, 1),
		AllowMsgSchedules: true,
		Duplicates:        time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", retryStream, err)
	}
	return &retries{js: js, stream: stream}, nil
}

func parkedSubject(webhook, id string) string { return parkedPrefix + webhook + "." + id }

// park keeps a job for a while. A job of the same event that is parked already
// is replaced.
func (r *retries) park(ctx context.Context, j job, wait time.Duration) error {
	if wait <= 0 {
		return r.makeDue(ctx, j)
	}
	msg := &nats.Msg{Subject: parkedSubject(j.webhook, j.id), Header: j.header(), Data: j.body}
	msg.Header.Set(jetstream.ScheduleHeader, "@at "+time.Now().Add(wait).UTC().Format(time.RFC3339Nano))
	msg.Header.Set(jetstream.ScheduleTargetHeader, duePrefix+j.webhook)
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("park event %s for webhook %s: %w", j.id, j.webhook, err)
	}
	return nil
}

// makeDue makes a job due at once.
func (r *retries) makeDue(ctx context.Context, j job) error {
	msg := &nats.Msg{Subject: duePrefix + j.webhook, Header: j.header(), Data: j.body}
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("send event %s to webhook %s again: %w", j.id, j.webhook, err)
	}
	return nil
}

// hasten makes all parked jobs of a webhook due at once.
func (r *retries) hasten(ctx context.Context, webhook string) error {
	for sequence := uint64(1); ; {
		msg, err := r.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(parkedPrefix+webhook+".*"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("hasten the parked events of webhook %s: %w", webhook, err)
		}
		sequence = msg.Sequence + 1
		j, err := parseJob(webhook, msg.Header, msg.Data)
		if err != nil {
			continue // it is found to be so when it is due
		}
		j.hastened = true
		due := &nats.Msg{Subject: duePrefix + webhook, Header: j.header(), Data: j.body}
		// The schedule ends with the same write.
		due.Header.Set("Nats-Scheduler", msg.Subject)
		due.Header.Set("Nats-Schedule-Next", "purge")
		if _, err := r.js.PublishMsg(ctx, due); err != nil {
			return fmt.Errorf("hasten the parked events of webhook %s: %w", webhook, err)
		}
	}
}

// parked counts the jobs of a webhook that wait.
func (r *retries) parked(ctx context.Context, webhook string) (int64, error) {
	return countBySubject(ctx, r.stream, parkedPrefix+webhook+".*", duePrefix+webhook)
}

// countBySubject counts the messages on subjects of a stream.
func countBySubject(ctx context.Context, stream jetstream.Stream, subjects ...string) (int64, error) {
	total := int64(0)
	for _, subject := range subjects {
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
		if err != nil {
			return 0, fmt.Errorf("count %s: %w", subject, err)
		}
		for _, n := range info.State.Subjects {
			total += int64(n)
		}
	}
	return total, nil
}

// forget drops all jobs of a webhook.
func (r *retries) forget(ctx context.Context, webhook string) error {
	return errors.Join(
		r.stream.Purge(ctx, jetstream.WithPurgeSubject(parkedPrefix+webhook+".*")),
		r.stream.Purge(ctx, jetstream.WithPurgeSubject(duePrefix+webhook)),
	)
}

// dueJob is a job whose time has come.
type dueJob struct {
	job
	msg jetstream.Msg
}

// due gives the jobs whose time has come to take, until ctx ends or it fails.
func (r *retries) due(ctx context.Context, ackWait time.Duration, take func(dueJob)) error {
	consumer, err := r.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       dueConsumer,
		FilterSubject: duePrefix + ">",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		MaxAckPending: duePending,
	})
	if err != nil {
		return fmt.Errorf("read the due events of webhooks: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(64), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("read the due events of webhooks: %w", err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil && err != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("read the due events of webhooks: %w", err)
		}
		j, err := parseJob(strings.TrimPrefix(msg.Subject(), duePrefix), msg.Headers(), msg.Data())
		if err != nil {
			// Nobody can ever read it: it must not come back for ever.
			_ = msg.TermWithReason(err.Error())
			continue
		}
		take(dueJob{job: j, msg: msg})
	}
}

func formatTime(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func parseTime(text string) time.Time {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
