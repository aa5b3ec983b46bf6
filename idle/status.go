package idle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/netguard"
)

// statusPace is how often counters and the time of the last event are stored
// when nothing else in the status changes.
const statusPace = 10 * time.Second

// setState stores the account's state. A failure to store it is only logged:
// what people see of an account must not stop its mail.
func (o *owner) setState(ctx context.Context, state account.State, detail string) {
	if o.status.State == state && o.status.Detail == detail {
		return
	}
	if o.status.State != state {
		o.status.SinceTime = time.Now().UTC()
	}
	o.status.State, o.status.Detail = state, detail
	o.saveStatus(ctx)
}

func (o *owner) saveStatus(ctx context.Context) {
	o.statusDirty, o.statusSaved = false, time.Now()
	err := o.config.Accounts.PutStatus(ctx, o.account, o.status)
	if err != nil && !errors.Is(err, account.ErrNotFound) && ctx.Err() == nil {
		o.statusDirty = true
		o.log.Warn("store the account's status", "error", err)
	}
}

// refreshStatus stores counters that have moved, at a bounded pace.
func (o *owner) refreshStatus(ctx context.Context) {
	if o.statusDirty && time.Since(o.statusSaved) >= statusPace {
		o.saveStatus(ctx)
	}
}

// watched announces that the mailbox is watched, or only in part.
func (o *owner) watched(ctx context.Context) error {
	ref := event.AccountAt(o.id())
	state := account.Connected
	reason, detail := o.shortcomings()
	var fact event.Data = &event.AccountConnected{AccountRef: ref}
	if detail != "" {
		state = account.Degraded
		fact = &event.AccountDegraded{AccountRef: ref, Reason: reason, Detail: detail}
	}
	if o.announced != state {
		if err := o.tell(ctx, fact); err != nil {
			return err
		}
		o.announced = state
	}
	o.setState(ctx, state, detail)
	return nil
}

// shortcomings says what of the mailbox is watched late or not at all, and what
// to do about it: for programs the worst of it, for people all.
func (o *owner) shortcomings() (reason, detail string) {
	var all []string
	add := func(why, text string) {
		if reason == "" {
			reason = why
		}
		all = append(all, text)
	}
	if o.partial != nil {
		add(reasonOf(o.partial), "INBOX is watched. The other folders cannot be looked at: "+detailOf(o.partial)+
			". This is tried again by itself. If it goes on, raise the server's limit of connections per user, or exclude folders.")
	}
	if o.pushes.silent {
		add("IDLE_NOT_PUSHING", fmt.Sprintf("idle not pushing: the server accepts IDLE and does not tell of new mail, so INBOX "+
			"is looked at every %s instead. Ask who runs the server to mend it, or set a shorter watch.poll_interval. "+
			"This ends by itself when the server tells of mail again.", lookPace(o.interval(), o.config.LinkTimeout, o.pushes)))
	}
	if o.idleIgnored {
		add("IDLE_NOT_PUSHING", fmt.Sprintf("idle not pushing: the server has IDLE and does not answer it, so INBOX is looked "+
			"at every %s instead. Ask who runs the server to mend it, or set a shorter watch.poll_interval. "+
			"IDLE is tried again every hour.", min(withoutIdle, o.interval(), o.config.LinkTimeout/2)))
	}
	if name, err := o.posts.trouble(); err != nil {
		add(reasonOf(err), fmt.Sprintf("Folder %q has no connection of its own: %s. It is looked at every %s instead. "+
			"Raise the server's limit of connections per user, or take the folder out of watch.idle_folders.",
			name, detailOf(err), o.interval()))
	}
	return reason, strings.Join(all, " ")
}

// refused announces that the server does not accept the credentials.
func (o *owner) refused(ctx context.Context, cause error) {
	detail := "The mail server refuses the credentials: " + strings.TrimRight(detailOf(cause), ".") +
		". Replace them with an update of the account."
	if o.announced != account.AuthRequired {
		o.announce(ctx, account.AuthRequired, &event.AccountAuthRequired{
			AccountRef: event.AccountAt(o.id()), Reason: "IMAP_AUTH_FAILED", Detail: detail,
		})
	}
	o.setState(ctx, account.AuthRequired, detail)
}

// patience is how many attempts in a row fail before an account counts as out
// of reach: servers restart, and links break for a moment.
const patience = 3

// unreachable tells that the server cannot be reached, once it has been tried
// for a while.
func (o *owner) unreachable(ctx context.Context, failures int, cause error) {
	detail := o.explain(cause)
	if failures < patience && o.announced != account.Failed {
		o.setState(ctx, account.Connecting, detail)
		return
	}
	if o.announced != account.Failed {
		o.announce(ctx, account.Failed, &event.AccountDegraded{
			AccountRef: event.AccountAt(o.id()), Reason: reasonOf(cause), Detail: detail,
		})
	}
	o.setState(ctx, account.Failed, detail+". It is tried again by itself.")
}

// announce tells of a state that the owner fell into by a failure.
func (o *owner) announce(ctx context.Context, state account.State, fact event.Data) {
	if err := o.tell(ctx, fact); err != nil {
		// The next session takes the account anew and announces it then.
		if ctx.Err() == nil {
			o.log.Warn("announce the account's state", "state", state, "error", err)
		}
		return
	}
	o.announced = state
}

const pausedDetail = "Watching was paused. Resume the account to go on."

// pause announces that an account is not watched, and then of what is sent from it.
func (o *owner) pause(ctx context.Context) {
	tryUntilDone(ctx, o.log, "announce that the account is paused", o.tellPaused)
	if ctx.Err() == nil {
		o.setState(ctx, account.Paused, pausedDetail)
		o.whilePaused(ctx)
	}
}

// tellPaused announces the pause, unless that was told.
func (o *owner) tellPaused(ctx context.Context) error {
	last, err := o.config.Log.Last(ctx, o.id())
	if err != nil || last != nil && last.Type == event.TypeAccountPaused {
		return err
	}
	if err := o.take(ctx); err != nil || o.paused {
		return err
	}
	return o.tell(ctx, &event.AccountPaused{AccountRef: event.AccountAt(o.id())})
}

// reasonOf names a failure for programs, in the terms of the API's errors.
func reasonOf(err error) string {
	var (
		tlsErr   *imapconn.TLSError
		protocol *imapconn.ProtocolError
		closed   *netguard.RefusedError
		inClear  *account.PlaintextError
	)
	switch {
	case errors.As(err, &closed):
		return "HOST_NOT_ALLOWED"
	case errors.As(err, &inClear):
		return "PLAINTEXT_NOT_ALLOWED"
	case errors.As(err, &tlsErr):
		return "IMAP_TLS_FAILED"
	case errors.As(err, &protocol):
		return "IMAP_PROTOCOL_ERROR"
	case imapconn.IsConnectionLimit(err):
		return "IMAP_CONNECTION_LIMIT"
	}
	if _, throttled := imapconn.RetryAfter(err); throttled {
		return "IMAP_THROTTLED"
	}
	return "IMAP_UNAVAILABLE"
}

// explain says why the server cannot be reached, and what to do where that is known.
func (o *owner) explain(err error) string {
	if text := o.account.Explain(err); text != "" {
		return text
	}
	return detailOf(err)
}

// detailOf is an error as people are told of it.
func detailOf(err error) string { return fmt.Sprint(err) }

// jittered spreads a wait over half again its length.
func jittered(d time.Duration) time.Duration { return d + rand.N(d/2+1) } //nolint:gosec // spreads, hides nothing

func capabilities(conn *imapconn.Conn) []string {
	var list []string
	for c := range conn.Caps() {
		list = append(list, string(c))
	}
	slices.Sort(list)
	return list
}
