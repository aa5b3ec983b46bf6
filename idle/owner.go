package idle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// owner watches one account. Its run goroutine alone touches it.
type owner struct {
	config  Config
	account *account.Account
	// known are the settings that events last told of.
	known *account.Account
	log   *slog.Logger

	// writer is nil as long as the account is not taken.
	writer *eventlog.Writer
	// first is where the account's events begin, and which folders there were.
	first *folder.First
	// saved is up to where in the log the snapshots are known to be good.
	saved folder.Position
	// created says that account.created is in the log, and deleted that the end
	// of an earlier registration is.
	created, deleted bool
	// paused says that the log tells that the account is paused.
	paused bool
	// While the account is taken, submissions is up to where submissions were told
	// of, as the log says, and bounced are the bounces that it tells of: they may not
	// be noted yet.
	submissions map[string]int
	bounced     []*event.MessageBounced
	// unreadable are reports at whose reading a session ended.
	unreadable map[folder.MessageID]bool
	// lost says what the log no longer tells, empty when nothing.
	lost    string
	folders map[folder.Key]*folderState
	// gone are folders whose end the log told of.
	gone map[folder.Key]bool
	// names finds the folders by the name the server has for them.
	names map[string]*folderState
	inbox *folderState
	// round counts the times that all folders were compared.
	round uint64

	// host is the mail server, with what becomes of the others' attempts.
	host *attendance

	status      account.Status
	statusDirty bool
	statusSaved time.Time
	// announced is the state that events last told of.
	announced account.State
	// failing says that a session has failed, and none has watched since.
	failing bool
	// partial is why folders other than INBOX cannot be looked at, or nil.
	partial error

	// When all folders are next compared, the next of them asked after, INBOX
	// looked at, and snapshots saved.
	nextPoll, nextAsk, nextLook, nextSave time.Time
	// pollAgain is when hints may bring about another poll, and othersAfter when
	// the server lets folders other than INBOX be opened again.
	pollAgain, othersAfter time.Time
	// backfillAfter is when old mail is told of again, after a failure.
	backfillAfter time.Time

	// elsewhere says that somebody told of changes of folders, or in others than
	// INBOX without saying in which; hinted has the folders that were named.
	elsewhere bool
	hinted    map[*folderState]bool
	// renaming says that the last list showed folders to have come, gone or been
	// renamed, and lacking that it lacked folders that are there.
	renaming, lacking bool
	// pushes is what is known of the server's readiness to tell of new mail, and
	// promised says that it told of some that could not be fetched yet. idling
	// says that it accepted IDLE.
	pushes           pushes
	promised, idling bool
	// unanswered counts the sessions in a row that ended because the server did
	// not answer IDLE. Until idleAgain it is treated as if it had none, which
	// idleIgnored says of the present session.
	unanswered  int
	idleAgain   time.Time
	idleIgnored bool
	notify      notifying
	// posts are the connections that idle on further folders.
	posts posts
	// watchedSince is when the present session began to watch, zero before.
	watchedSince time.Time

	// changed is what others hand over while the owner is at work, and synced what
	// they may ask meanwhile.
	changed changed
	synced  synced
}

func newOwner(config Config, a *account.Account) *owner {
	o := &owner{
		config:  config,
		account: a,
		log:     config.Logger.With("account", a.ID),
		status:  a.Status,

		unreadable: make(map[folder.MessageID]bool),
	}
	o.known, o.changed.last = a, a
	o.changed.wake = make(chan struct{}, 1)
	o.posts.owner = o
	return o
}

func (o *owner) id() string { return o.account.ID }

// run watches the account until ctx ends.
func (o *owner) run(ctx context.Context) {
	o.host = o.config.hosts.attend(fmt.Sprintf("%s:%d", o.account.IMAP.Host, o.account.IMAP.Port))
	defer o.host.leave()
	wait := backoff{cap: o.config.RetryCap}
	for {
		began := time.Now()
		err := o.session(ctx)
		if ctx.Err() != nil {
			o.leave()
			return
		}
		o.judgeIdle(err)
		if !o.watchedSince.IsZero() && time.Since(o.watchedSince) > healthyAfter {
			wait.reset()
		}
		if !o.watchedSince.IsZero() { // it worked until now
			began = time.Now()
		}
		delay := o.failed(ctx, &wait, err)
		if o.comeBack(ctx, delay, began, err) != nil {
			o.leave()
			return
		}
	}
}

// leaveTimeout bounds what an owner does when it is told to stop.
const leaveTimeout = 5 * time.Second

// leave saves the snapshots, so that the next owner has little to replay.
func (o *owner) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := o.save(ctx); err != nil {
		o.log.Warn("save the folders' snapshots on leaving", "error", err)
	}
}

// session takes the account if need be, connects, catches up, and watches until
// something fails. It never returns nil while ctx lives.
func (o *owner) session(ctx context.Context) error {
	o.idling, o.watchedSince, o.hinted = false, time.Time{}, make(map[*folderState]bool)
	if o.writer == nil {
		if err := o.take(ctx); err != nil {
			o.writer = nil
			return logFailed(err)
		}
	}
	if err := o.takeUpdate(ctx); err != nil {
		return err
	}
	// While attempts fail, the state goes on to say why.
	if !o.failing {
		o.setState(ctx, account.Connecting, "")
	}
	conn, err := o.config.Connector.Dial(ctx, o.account)
	if err != nil {
		return err
	}
	defer conn.Close()
	if o.idleIgnored = time.Now().Before(o.idleAgain); o.idleIgnored {
		conn.Ignore(imap.CapIdle)
	}
	o.changed.interruptBy(conn.Interrupt)
	defer o.changed.interruptBy(nil)
	o.status.Counters.Connects++
	o.status.Capabilities = capabilities(conn)
	if err := o.beginNotify(ctx, conn); err != nil {
		return err
	}
	o.status.Notify = o.notify.on
	o.setState(ctx, account.Syncing, "")
	if err := o.pinIdentity(ctx, conn); err != nil {
		return err
	}
	if err := o.catchUp(ctx, conn); err != nil {
		return err
	}
	if err := o.watched(ctx); err != nil {
		return err
	}
	o.failing, o.watchedSince = false, time.Now()
	o.host.reached()
	defer o.posts.end()
	o.posts.keep(ctx, o.postNames())
	return o.watch(ctx, conn)
}

// pinIdentity settles, on the first connection, how mail is told apart.
func (o *owner) pinIdentity(ctx context.Context, conn *imapconn.Conn) error {
	if o.account.IdentityScheme != "" {
		return nil
	}
	updated, err := o.config.Accounts.Update(ctx, o.id(), "", func(a *account.Account) error {
		if a.IdentityScheme == "" {
			a.IdentityScheme = account.BestIdentityScheme(conn.Caps())
		}
		return nil
	})
	if err != nil {
		return logFailed(err)
	}
	o.account = updated
	return nil
}

// failed takes note of why a session ended and returns how long to wait before
// the next.
func (o *owner) failed(ctx context.Context, wait *backoff, err error) time.Duration {
	o.status.Counters.Failures++
	o.failing = true
	if imapconn.WorthRepeating(err) {
		o.log.Info("the connection was lost while messages were fetched; it is looked which of them is to blame", "error", err)
		o.unreachable(ctx, wait.failures, err)
		return jittered(againDelay)
	}
	delay := wait.next()
	var logErr *logError
	switch {
	case errors.As(err, &logErr):
		o.log.Warn("the event log failed; the account is taken anew", "error", err, "wait", delay)
		o.writer = nil
		o.setState(ctx, account.Degraded, "The event log cannot be written: "+detailOf(err)+
			". Nothing is lost; what changes is announced when it can be written again.")
		return min(delay, logRetry)
	case credentialsRefused(err):
		o.log.Warn("the server refuses the credentials", "error", err)
		o.refused(ctx, err)
		return retryDelay(delay, err)
	}
	delay = retryDelay(delay, err)
	o.log.Info("the connection failed", "error", err, "wait", delay)
	o.unreachable(ctx, wait.failures, err)
	return delay
}

// retryDelay is how long to wait before the next attempt after an error, given
// what the backoff says: as long as the server wants, and much longer where the
// same credentials would only be refused again.
func retryDelay(delay time.Duration, err error) time.Duration {
	if credentialsRefused(err) {
		return jittered(authRetry)
	}
	if after, ok := imapconn.RetryAfter(err); ok {
		return max(delay, jittered(after))
	}
	return delay
}

// credentialsRefused reports whether it takes other credentials to go on.
func credentialsRefused(err error) bool {
	var (
		login *imapconn.AuthError
		token *account.TokenRefusedError
	)
	return errors.As(err, &login) || errors.As(err, &token)
}

const (
	// againDelay is the pause before a FETCH is repeated that cost the connection.
	againDelay = 100 * time.Millisecond
	// logRetry caps the wait for the event log: it is ours, and near.
	logRetry = 5 * time.Second
	// authRetry is the pace at which refused credentials are tried again. Some
	// providers refuse good ones when they are ill; trying often would lock
	// the mailbox.
	authRetry = time.Hour
)
