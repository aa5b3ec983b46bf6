package idle

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
)

// Connector reaches the servers of accounts.
type Connector interface {
	// Dial opens the watching connection of an account.
	Dial(ctx context.Context, a *account.Account) (*imapconn.Conn, error)
	// Do runs fn on one of the account's request connections.
	Do(ctx context.Context, id, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error
	// Reselect makes the account's request connections find out anew which
	// mailbox a name stands for.
	Reselect(id string)
}

// Config is what a Supervisor works with.
type Config struct {
	Accounts    *account.Registry
	Connector   Connector
	Log         *eventlog.Log
	Folders     *folder.Registry
	Checkpoints *folder.Checkpoints
	// Moves knows which message became which when requests moved them.
	Moves *moves.Ledger
	// Successors, unless nil, is told what became of messages that were moved.
	Successors *moves.Successors
	// Submissions knows what became of mail that was sent; nil means that none is.
	Submissions Submissions
	// Node names this process in account.owner_changed.
	Node string
	// PollInterval is how often folders that the server does not push are
	// looked at, for accounts that do not say; 0 means one minute.
	PollInterval time.Duration
	// LinkTimeout is how long a dead link may look alive; 0 means
	// [imapconn.DefaultLinkTimeout]. The connections of Connector answer within a
	// third of it, or fail.
	LinkTimeout time.Duration
	// OverflowAfter is how many changes of a folder at once are announced as a
	// folder.overflow before they are told; 0 means 10,000.
	OverflowAfter int
	// RetryCap bounds the wait between attempts to reach a mail server; 0 means
	// [DefaultRetryCap].
	RetryCap time.Duration
	// Logger gets what happens to connections; nil means nobody does.
	Logger *slog.Logger

	// pushGrace is how long a server must have been silent for mail that is then
	// found to count as mail that it did not tell of.
	pushGrace time.Duration
	// bulk has a token for each account that reads much mail.
	bulk chan struct{}
	// hosts are the mail servers of all accounts.
	hosts *hosts
}

// Supervisor runs an owner for every account that is to be watched.
type Supervisor struct {
	config Config
	mu     sync.Mutex
	owners map[string]*running // by account; only Run's goroutine changes it
	// sending are the accounts that may have something to tell of their submissions.
	sending map[string]bool
}

// running is an owner at work, or the burial of a deleted account.
type running struct {
	owner  *owner // nil for a burial, and for an account that cannot be read
	cancel context.CancelFunc
	done   chan struct{}
}

func (r *running) isDone() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// New returns a supervisor; Run starts it.
func New(config Config) *Supervisor {
	if config.PollInterval <= 0 {
		config.PollInterval = time.Minute
	}
	if config.LinkTimeout <= 0 {
		config.LinkTimeout = imapconn.DefaultLinkTimeout
	}
	if config.RetryCap <= 0 {
		config.RetryCap = DefaultRetryCap
	}
	if config.pushGrace <= 0 {
		config.pushGrace = 10 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.OverflowAfter <= 0 {
		config.OverflowAfter = DefaultOverflowAfter
	}
	config.bulk = make(chan struct{}, bulkAtOnce)
	config.hosts = &hosts{known: make(map[string]*host)}
	return &Supervisor{config: config, owners: make(map[string]*running), sending: make(map[string]bool)}
}

// Run watches all accounts, follows their registration, change and deletion,
// and returns when ctx has ended and all owners with it. It may be run again.
func (s *Supervisor) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	s.mu.Lock()
	clear(s.owners)
	s.mu.Unlock()
	if s.config.Submissions != nil {
		wg.Go(func() { s.followSubmissions(ctx) })
	}
	s.buryMissed(ctx, &wg)
	for change := range s.config.Accounts.Watch(ctx) {
		s.apply(ctx, &wg, change)
	}
	for _, owner := range s.owners {
		owner.cancel()
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("the watch on the accounts has ended")
}

// apply makes the running owners fit a change of an account.
func (s *Supervisor) apply(ctx context.Context, wg *sync.WaitGroup, change account.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.owners, func(_ string, r *running) bool { return r.owner == nil && r.isDone() })
	before := s.owners[change.ID]
	if before != nil && before.owner != nil && change.Account != nil && before.owner.update(change.Account) {
		return
	}
	ownerCtx, cancel := context.WithCancel(ctx)
	next := &running{cancel: cancel, done: make(chan struct{})}
	if change.Account != nil {
		next.owner = newOwner(s.config, change.Account)
		next.owner.changed.submissions.all = s.sending[change.ID]
	}
	s.owners[change.ID] = next
	if before != nil && before.owner != nil {
		next.owner.follow(before.owner)
		before.cancel()
	}
	wg.Go(func() {
		defer close(next.done)
		defer cancel()
		if before != nil {
			<-before.done // two owners in one process would fence each other
		}
		switch {
		case change.Unreadable: // nothing can be done for it, and nothing is forgotten
		case next.owner == nil:
			s.bury(ctx, change.ID)
		case change.Account.Paused:
			next.owner.pause(ownerCtx)
		default:
			next.owner.run(ownerCtx)
		}
	})
}

// buryMissed buries the accounts that were deleted while nobody watched.
func (s *Supervisor) buryMissed(ctx context.Context, wg *sync.WaitGroup) {
	kept, err := s.config.Checkpoints.Accounts(ctx)
	if err != nil {
		s.config.Logger.Error("look for accounts that were deleted", "error", err)
	}
	for _, id := range kept {
		if _, err := s.config.Accounts.Get(ctx, id); errors.Is(err, account.ErrNotFound) {
			s.apply(ctx, wg, account.Change{ID: id, Deleted: true})
		}
	}
}

// bury announces that an account is gone and forgets what is kept about it.
func (s *Supervisor) bury(ctx context.Context, id string) {
	tryUntilDone(ctx, s.config.Logger.With("account", id), "forget a deleted account", func(ctx context.Context) error {
		last, err := s.config.Log.Last(ctx, id)
		if err != nil {
			return err
		}
		if last == nil || last.Type != event.TypeAccountDeleted {
			if err := s.tellDeleted(ctx, id); err != nil {
				return err
			}
		}
		return forget(ctx, s.config, id)
	})
}

func (s *Supervisor) tellDeleted(ctx context.Context, id string) error {
	position, err := s.config.Checkpoints.LoadPosition(ctx, id)
	if err != nil {
		return err
	}
	writer, err := s.config.Log.Writer(ctx, id, position.Number)
	if err != nil {
		return err
	}
	deleted := event.New(id, writer.Head().Number, time.Now(), &event.AccountDeleted{AccountRef: event.AccountAt(id)})
	_, err = writer.Append(ctx, deleted)
	return err
}

// forget drops what is kept about an account. The checkpoints go last: as long
// as there are any, the account is known to be there.
func forget(ctx context.Context, config Config, id string) error {
	if config.Submissions != nil {
		if err := config.Submissions.Forget(ctx, id); err != nil {
			return err
		}
	}
	if err := config.Folders.Forget(ctx, id); err != nil {
		return err
	}
	return config.Checkpoints.Forget(ctx, id)
}

// tryUntilDone does something that only the log and what is stored beside it can
// make fail, until it succeeds or ctx ends.
func tryUntilDone(ctx context.Context, log *slog.Logger, what string, do func(context.Context) error) {
	wait := backoff{cap: logRetry}
	for {
		err := do(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		delay := wait.next()
		log.Warn(what, "error", err, "wait", delay)
		if pause(ctx, delay) != nil {
			return
		}
	}
}
