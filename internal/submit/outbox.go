package submit

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// Accounts are the registered accounts.
type Accounts interface {
	Get(ctx context.Context, id string) (*account.Account, error)
}

// Sender hands messages to the servers of accounts.
type Sender interface {
	Send(ctx context.Context, a *account.Account, m *smtpconn.Message) (*smtpconn.Receipt, error)
}

// Mailbox is what sending does in an account's mailbox.
type Mailbox interface {
	// FindSent reports whether a message with the Message-ID is in the Sent folder.
	FindSent(ctx context.Context, a *account.Account, messageID string) (bool, error)
	// SaveSent puts a message into the Sent folder, unless it is there or will
	// come there by itself.
	SaveSent(ctx context.Context, a *account.Account, s *Submission, open func() (io.Reader, error)) error
	// MarkAnswered gives a message the flag of having been answered.
	MarkAnswered(ctx context.Context, a *account.Account, answered *Answered) error
	// RemoveDraft removes a draft that was sent, by its placement.
	RemoveDraft(ctx context.Context, a *account.Account, draft string) error
}

// Defaults of an Outbox.
const (
	// DefaultConcurrency is how many messages are under way at a time, and
	// DefaultAccountConcurrency how many of them of one account.
	DefaultConcurrency        = 64
	DefaultAccountConcurrency = smtpconn.DefaultPoolSize
	// DefaultRetention is how long a submission is kept after its end.
	DefaultRetention = 30 * 24 * time.Hour
	// DefaultGrace is how long messages under way may take when the outbox is
	// told to stop.
	DefaultGrace = 8 * time.Second
)

// Config is what an Outbox works with.
type Config struct {
	Store    *Store
	Accounts Accounts
	Sender   Sender
	Mailbox  Mailbox
	// Concurrency, AccountConcurrency, Retention and Grace are the defaults where
	// they are 0.
	Concurrency, AccountConcurrency int
	Retention, Grace                time.Duration
	// Pause is how long to wait after a number of attempts; nil means a schedule
	// from a minute to four hours.
	Pause func(attempts int) time.Duration
	// Logger gets what fails; nil means nobody does.
	Logger *slog.Logger
}

// Outbox sends what is in a store.
type Outbox struct {
	config Config
	agenda *agenda // only Run's goroutine touches it
	// run names the present run, and inherited are the last revisions of what was
	// written before it, by shard.
	run       string
	inherited [shardCount]uint64
}

// NewOutbox makes an outbox; Run starts it.
func NewOutbox(config Config) *Outbox {
	if config.Concurrency <= 0 {
		config.Concurrency = DefaultConcurrency
	}
	if config.AccountConcurrency <= 0 {
		config.AccountConcurrency = DefaultAccountConcurrency
	}
	if config.Retention <= 0 {
		config.Retention = DefaultRetention
	}
	if config.Grace <= 0 {
		config.Grace = DefaultGrace
	}
	if config.Pause == nil {
		config.Pause = pauseAfter
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Outbox{config: config}
}

// sweepPace is how often what is older than the retention is forgotten.
const sweepPace = time.Hour

// Run sends until ctx ends, and then lets what is under way finish for as long as
// the grace period says. It may be run again.
func (o *Outbox) Run(ctx context.Context) error {
	if err := o.work(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

func (o *Outbox) work(ctx context.Context) error {
	o.agenda, o.run = newAgenda(o.config.Concurrency, func(id string) limits { return o.limitsOf(ctx, id) }), rand.Text()
	// Before the list of what there is, so that nothing falls in between.
	updates, stopWatching, err := o.config.Store.watch(ctx)
	if err != nil {
		return err
	}
	defer stopWatching()
	if o.inherited, err = o.config.Store.revisions(ctx); err != nil {
		return err
	}
	open, err := o.config.Store.keys(ctx, openPrefix+">")
	if err != nil {
		return err
	}
	for _, key := range open {
		account, id := split(key)
		o.agenda.add(ref{account, id}, time.Time{}, true)
	}
	workCtx, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	defer cutOff()
	var work errgroup.Group
	err = o.loop(ctx, workCtx, updates, &work)
	stop := time.AfterFunc(o.config.Grace, cutOff)
	defer stop.Stop()
	return errors.Join(err, work.Wait())
}

// ended is the end of a piece of work, and when there is more to do for it.
type ended struct {
	ref
	// onlySent says that it has not ended, but that another message may be sent.
	onlySent bool
	again    bool
	due      time.Time
	sends    bool
}

// limitsOf are those of an account, as its settings say now.
func (o *Outbox) limitsOf(ctx context.Context, id string) limits {
	bounds := limits{concurrent: o.config.AccountConcurrency}
	a, err := o.config.Accounts.Get(ctx, id)
	if err != nil {
		return bounds // whoever sends finds out
	}
	if a.Sending.MaxConcurrent > 0 {
		bounds.concurrent = a.Sending.MaxConcurrent
	}
	bounds.perMinute = a.Sending.MaxPerMinute
	return bounds
}

func (o *Outbox) loop(ctx, workCtx context.Context, updates <-chan jetstream.KeyValueEntry, work *errgroup.Group) error {
	ends, over := make(chan ended), make(chan struct{})
	defer close(over) // after which nobody listens
	end := func(e ended) {
		select {
		case ends <- e:
		case <-over:
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	sweep := time.NewTicker(sweepPace)
	defer sweep.Stop()
	for {
		next, ok, wait, none := o.agenda.next(time.Now())
		if ok {
			work.Go(func() error {
				end(o.process(workCtx, next, sync.OnceFunc(func() { end(ended{ref: next, onlySent: true}) })))
				return nil
			})
			continue
		}
		if none {
			wait = sweepPace
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-updates:
			if !ok {
				return errors.New("the watch on the submissions has ended")
			}
			o.note(entry)
		case end := <-ends:
			if end.onlySent {
				o.agenda.free(end.ref)
			} else {
				o.agenda.done(end.ref, end.again, end.due, end.sends)
			}
		case <-timer.C:
		case <-sweep.C:
			o.sweep(ctx)
		}
	}
}

// note puts a submission that was written, by whatever node, on the agenda.
func (o *Outbox) note(entry jetstream.KeyValueEntry) {
	submission, err := decode(entry)
	if err != nil {
		o.config.Logger.Error("a submission cannot be read", "key", entry.Key(), "error", err)
		return
	}
	r := ref{submission.Account, submission.ID}
	if submission.State == Sending && o.agenda.items[r] != nil && o.agenda.items[r].running {
		return // this is the echo of our own step
	}
	o.agenda.add(r, submission.NextAttempt, !submission.State.Final())
}

// sweep forgets what has ended for longer than it is kept.
func (o *Outbox) sweep(ctx context.Context) {
	now := time.Now()
	err := errors.Join(o.config.Store.forgetOld(ctx, now.Add(-o.config.Retention)), o.config.Store.sweepBodies(ctx, now.Add(-UploadTTL-missingFor)))
	if err != nil {
		o.config.Logger.Warn("forget old submissions", "error", err)
	}
}
