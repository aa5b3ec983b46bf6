package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// Webhooks keeps the webhooks and sends them their events. Its methods may be
// called concurrently, on any node.
type Webhooks struct {
	config   Config
	conn     *nats.Conn
	registry *registry
	retries  *retries
	dead     *deadLetters
	attempts *attemptLog
	sender   *sender
	known    known
}

// Open opens what is kept of webhooks, and makes it at the first start. Run
// sends the events.
func Open(ctx context.Context, js jetstream.JetStream, config Config) (*Webhooks, error) {
	config = config.withDefaults()
	w := &Webhooks{config: config, conn: js.Conn(), sender: newSender(config)}
	var err error
	if w.registry, err = openRegistry(ctx, js, config); err != nil {
		return nil, err
	}
	if w.retries, err = openRetries(ctx, js, config); err != nil {
		return nil, err
	}
	if w.dead, err = openDeadLetters(ctx, js, config); err != nil {
		return nil, err
	}
	if w.attempts, err = openAttemptLog(ctx, js, config); err != nil {
		return nil, err
	}
	return w, nil
}

// Create stores a new webhook, which gets the events that come from now on. An
// empty id is replaced by a generated one, an empty secret by a new one. It
// fails with [ErrExists], [requestid.ErrReused], [*invalid.Error] and
// [*limit.FullError].
func (w *Webhooks) Create(ctx context.Context, hook *Webhook, requestID string) (*Webhook, error) {
	head, err := w.config.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	hook = hook.Clone()
	hook.begin = begin{generation: 1, place: eventlog.Place{After: head}}
	created, err := w.registry.create(ctx, hook, requestID)
	if err != nil {
		return nil, err
	}
	// Its place in the log is taken before the caller is answered, so that
	// nothing that happens from then on can grow too old unseen.
	return created, w.takePlace(ctx, created)
}

// takePlace makes the durable reader of a webhook.
func (w *Webhooks) takePlace(ctx context.Context, hook *Webhook) error {
	reader, err := w.config.Log.Durable(ctx, w.readerConfig(hook))
	if err != nil {
		return err
	}
	reader.Close()
	return nil
}

// Get reads a webhook. It fails with [ErrNotFound].
func (w *Webhooks) Get(ctx context.Context, id string) (*Webhook, error) {
	return w.registry.get(ctx, id)
}

// List gives the webhooks with an id above after that match chooses, nil for all,
// in the order of their ids, and at most limit of them. More says whether there are
// further ones.
func (w *Webhooks) List(ctx context.Context, match func(*Webhook) bool, after string, limit int) (hooks []*Webhook, more bool, err error) {
	return w.registry.list(ctx, match, after, limit)
}

// Update applies change to the settings as they are now. With a non-empty etag
// they must still be those that the etag was given out for, else it fails with
// [ErrEtagMismatch]. Change may be called several times. It fails with
// [ErrNotFound] and [*invalid.Error].
func (w *Webhooks) Update(ctx context.Context, id, etag string, change func(*Webhook) error) (*Webhook, error) {
	return w.registry.update(ctx, id, etag, change)
}

// RotateSecret replaces the secret. The one before signs as well for as long as
// the overlap.
func (w *Webhooks) RotateSecret(ctx context.Context, id, etag string, overlap time.Duration) (*Webhook, error) {
	fresh := newSecret()
	return w.registry.update(ctx, id, etag, func(hook *Webhook) error {
		hook.PreviousSecret, hook.PreviousExpiry = hook.Secret, kvbucket.Now().Add(overlap)
		if overlap <= 0 {
			hook.PreviousSecret, hook.PreviousExpiry = secret.String{}, time.Time{}
		}
		hook.Secret = fresh
		return nil
	})
}

// Enable sends events again, beginning with the first that was not sent.
func (w *Webhooks) Enable(ctx context.Context, id string) (*Webhook, error) {
	hook, err := w.registry.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if hook.untold {
		if err := w.tell(ctx, hook); err != nil {
			return nil, err
		}
	}
	// The time of failing begins anew: otherwise the first failure would
	// disable the webhook again.
	if _, err := w.registry.noteHealth(ctx, id, func(h *healthRecord) { *h = healthRecord{} }); err != nil {
		return nil, err
	}
	return w.registry.update(ctx, id, "", func(hook *Webhook) error {
		hook.Disabled, hook.DisableTime, hook.LastError = "", time.Time{}, ""
		return nil
	})
}

// Disable stops sending events.
func (w *Webhooks) Disable(ctx context.Context, id string) (*Webhook, error) {
	return w.disable(ctx, id, Requested, "")
}

// disable stops sending events, unless that was done already. The event that
// tells of it follows, from whichever node is first to see the change.
func (w *Webhooks) disable(ctx context.Context, id string, why Reason, detail string) (*Webhook, error) {
	return w.registry.update(ctx, id, "", func(hook *Webhook) error {
		if hook.Disabled != "" {
			return nil
		}
		hook.Disabled, hook.DisableTime, hook.LastError = why, kvbucket.Now(), detail
		hook.occasion, hook.untold = hook.occasion+1, true
		return nil
	})
}

// Replay goes on from another place in the log. It fails with [ErrNotFound], and
// as [eventlog.Log.Watch] does for a cursor that has expired.
func (w *Webhooks) Replay(ctx context.Context, id string, from eventlog.Place) (*Webhook, error) {
	if from.Since.IsZero() {
		if err := w.config.Log.CheckCursor(ctx, from.After); err != nil {
			return nil, err
		}
	}
	hook, err := w.registry.update(ctx, id, "", func(hook *Webhook) error {
		hook.begin = begin{generation: hook.begin.generation + 1, place: from}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return hook, w.takePlace(ctx, hook)
}

// Delete removes a webhook with all that is kept of it. It fails with
// [ErrNotFound] and [ErrEtagMismatch].
func (w *Webhooks) Delete(ctx context.Context, id, etag string) error {
	if err := w.registry.remove(ctx, id, etag); err != nil {
		return err
	}
	if err := w.forget(ctx, id); err != nil {
		// It is gone; what is left is removed at the next start.
		w.config.Logger.Warn("remove what is left of a deleted webhook", "webhook", id, "error", err)
	}
	return nil
}

// forget removes all that is kept of a webhook beside its settings.
func (w *Webhooks) forget(ctx context.Context, id string) error {
	readers, err := w.config.Log.Durables(ctx, readersPrefix)
	if err != nil {
		return err
	}
	err = w.forgetMessages(ctx, id)
	for _, name := range readers {
		if of, _, ok := readerOf(name); ok && of == id {
			err = errors.Join(err, w.config.Log.RemoveDurable(ctx, name))
		}
	}
	return err
}

// Test sends an event of type webhook.test, once, and tells what came of it. The
// event is not in the log.
func (w *Webhooks) Test(ctx context.Context, id string) (*Attempt, error) {
	hook, err := w.registry.get(ctx, id)
	if err != nil {
		return nil, err
	}
	e := event.New(event.System, 0, time.Now(), &event.WebhookTest{
		WebhookRef: event.WebhookRef{Webhook: event.WebhookName(id)}, Nonce: rand.Text(),
	})
	body, err := e.Encode()
	if err != nil {
		return nil, err
	}
	a := newAttempt(job{webhook: id, id: e.ID, typ: e.Type, account: e.Account}, w.sender.send(ctx, hook, e.ID, body))
	w.attempts.add(id, a)
	return a, nil
}

// newAttempt is what an answer says of a job that is tried once.
func newAttempt(j job, a answer) *Attempt {
	out := &Attempt{
		EventID: j.id, Type: j.typ, Account: j.account, Number: j.attempts + 1, Time: a.began.UTC(), Latency: a.latency,
		Outcome: Succeeded, Status: a.status, Error: a.failure, Excerpt: a.excerpt,
	}
	if a.verdict != taken {
		out.Outcome = Failed
	}
	return out
}

// Attempts lists what was tried for a webhook below a sequence, the newest
// first; 0 is above all.
func (w *Webhooks) Attempts(ctx context.Context, id string, below uint64) ([]Attempt, error) {
	if _, err := w.registry.load(ctx, id); err != nil {
		return nil, err
	}
	return w.attempts.list(ctx, id, below)
}

// Backlog is what waits to be sent to a webhook.
type Backlog struct{ Pending, Parked, DeadLetters int64 }

// Backlog counts what waits to be sent.
func (w *Webhooks) Backlog(ctx context.Context, hook *Webhook) (Backlog, error) {
	pending, err := w.config.Log.Pending(ctx, readerName(hook))
	if err != nil {
		return Backlog{}, err
	}
	parked, err := w.retries.parked(ctx, hook.ID)
	if err != nil {
		return Backlog{}, err
	}
	dead, err := w.dead.count(ctx, hook.ID)
	return Backlog{Pending: int64(pending), Parked: parked, DeadLetters: dead}, err
}

// readersPrefix begins the names of all readers, so that others' are left alone.
const readersPrefix = "webhook-"

// readerName is the durable reader of a webhook in the event log.
func readerName(hook *Webhook) string {
	return fmt.Sprintf("%s%s__%d", readersPrefix, hook.ID, hook.begin.generation)
}

// readerOf is the inverse of readerName. An id may have underscores too.
func readerOf(name string) (id string, generation uint64, ok bool) {
	name, ok = strings.CutPrefix(name, readersPrefix)
	at := strings.LastIndex(name, "__")
	if !ok || at < 0 {
		return "", 0, false
	}
	generation, err := strconv.ParseUint(name[at+2:], 10, 64)
	return name[:at], generation, err == nil
}

func (w *Webhooks) readerConfig(hook *Webhook) eventlog.DurableConfig {
	return eventlog.DurableConfig{
		Name: readerName(hook), Begin: hook.begin.place, Filter: hook.logFilter(),
		MaxPending: hook.concurrency(), AckWait: w.config.AckWait,
	}
}
