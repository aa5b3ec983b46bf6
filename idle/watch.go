package idle

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
)

// savePace is how often snapshots follow what was announced. Between two of them
// the log itself is what remembers.
const savePace = 30 * time.Second

// interval is how often folders are looked at that the server does not push.
func (o *owner) interval() time.Duration {
	if o.account.Watch.PollInterval > 0 {
		return o.account.Watch.PollInterval
	}
	return o.config.PollInterval
}

// spread takes from a twentieth to a tenth off a pace, so that accounts that
// connected together do not poll together for ever, and what is found is also told
// in time.
func spread(d time.Duration) time.Duration {
	return d - d/20 - rand.N(d/20+1) //nolint:gosec // spreads, hides nothing
}

// planPoll sets the time of the next poll, and of what is due in between.
func (o *owner) planPoll(conn *imapconn.Conn, took time.Duration) {
	now := time.Now()
	o.nextPoll = now.Add(spread(pollPace(o.interval(), o.calm())))
	if o.holds() {
		o.nextPoll = now // what is held back waits for a look at all folders
	}
	// A server that tells of folders without end must not have us list all the
	// time.
	o.pollAgain = now.Add(min(pollRest*took, maxPollRest))
	if o.renaming && o.notify.on {
		// Dovecot does not tell of a name that changes while it lists the names.
		o.renaming, o.elsewhere = false, true
		o.pollAgain = now.Add(max(settling, min(pollRest*took, maxPollRest)))
	}
	o.planLook(conn)
	o.planAsk(now)
}

const (
	// pollRest is how many times as long as the last poll took the server is
	// given a rest before hints bring about another, and maxPollRest the most.
	pollRest    = 4
	maxPollRest = 10 * time.Second
	// settling is how long after a list that showed changes of names there is
	// another.
	settling = 2 * time.Second
)

// planLook sets the time of the next look at INBOX.
func (o *owner) planLook(conn *imapconn.Conn) {
	pace := lookPace(o.interval(), o.config.LinkTimeout, o.pushes)
	if !conn.Has(imap.CapIdle) || !o.idling {
		pace = min(pace, withoutIdle)
	}
	o.nextLook = time.Now().Add(spread(pace))
}

// watch waits for what the server tells, looks where it points, and asks after
// what it does not tell. It returns when the connection fails or ctx ends.
func (o *owner) watch(ctx context.Context, conn *imapconn.Conn) error {
	var restless restless
	for {
		activity, err := o.wait(ctx, conn)
		if err != nil {
			return err
		}
		if err := o.takeUpdate(ctx); err != nil {
			return err
		}
		told := o.status.Counters.Events
		if err := o.react(ctx, conn, activity); err != nil {
			return err
		}
		if err := o.seeTo(ctx, conn); err != nil {
			return err
		}
		if err := o.backfill(ctx); err != nil {
			return err
		}
		if !time.Now().Before(o.nextSave) {
			if err := o.save(ctx); err != nil {
				return err
			}
			o.nextSave = time.Now().Add(savePace)
		}
		o.refreshStatus(ctx)
		woken := activity.Reason == imapconn.ActivityUpdate || activity.Reason == imapconn.ActivityEnded
		pause := restless.after(woken && o.status.Counters.Events == told)
		if err := o.rest(ctx, min(pause, time.Until(o.nextPoll))); err != nil {
			return err
		}
	}
}

// seeTo does what is due.
func (o *owner) seeTo(ctx context.Context, conn *imapconn.Conn) error {
	if o.notify.lost {
		if err := o.renotify(ctx, conn); err != nil {
			return err
		}
	}
	now := time.Now()
	if !now.Before(o.nextPoll) || o.elsewhere && !now.Before(o.pollAgain) {
		return o.poll(ctx, conn)
	}
	if folders := o.dueFolders(now); len(folders) > 0 {
		if err := o.ask(ctx, conn, folders); err != nil {
			return err
		}
	}
	if !now.Before(o.nextLook) {
		return o.check(ctx, conn)
	}
	return nil
}

// untilDue is how long there is nothing to do.
func (o *owner) untilDue() time.Duration {
	if o.nextBackfill() != nil {
		return 0 // what the server has told is looked at in between
	}
	next := o.nextPoll
	for _, at := range []time.Time{o.nextAsk, o.nextLook} {
		if at.Before(next) {
			next = at
		}
	}
	if o.unsaved() && o.nextSave.Before(next) {
		next = o.nextSave
	}
	if o.elsewhere && o.pollAgain.Before(next) {
		next = o.pollAgain
	}
	return max(time.Until(next), 0)
}

// wait returns what the server told, or nothing when it is time to do something.
func (o *owner) wait(ctx context.Context, conn *imapconn.Conn) (imapconn.Activity, error) {
	nothing := imapconn.Activity{Reason: imapconn.ActivityTimeout}
	if !conn.Has(imap.CapIdle) {
		return nothing, o.rest(ctx, o.untilDue())
	}
	activity, err := conn.Idle(ctx, o.untilDue())
	var refused *imapconn.Error
	if errors.As(err, &refused) {
		// It has IDLE and refuses it now and then; looking is as good.
		o.idling = false
		o.planLook(conn)
		return nothing, o.rest(ctx, min(o.untilDue(), withoutIdle))
	}
	o.idling = err == nil && activity.Reason != imapconn.ActivityEnded
	if err == nil {
		o.unanswered = 0
	}
	return activity, err
}

const (
	// idleChances is how many sessions in a row may end because IDLE was not
	// answered, and idlePause how long it is then done without: a dead link looks
	// the same once.
	idleChances = 2
	idlePause   = time.Hour
)

// judgeIdle takes note of a session that ended because the server that has IDLE
// did not answer it, neither with the continuation (RFC 2177 section 3) nor with a
// refusal.
func (o *owner) judgeIdle(err error) {
	var silence *imapconn.TimeoutError
	if o.idling || !errors.As(err, &silence) || silence.Command != "IDLE" {
		return
	}
	if o.unanswered++; o.unanswered >= idleChances {
		o.idleAgain = time.Now().Add(idlePause)
	}
}

// rest waits for a time, or until somebody has something for the owner.
func (o *owner) rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-o.changed.wake:
	}
	return nil
}

// restless counts the turns in a row in which a server ended the wait for
// nothing: it ends IDLE by itself at once, or tells the number of messages
// whenever IDLE begins. Without a pause the two would talk for ever.
type restless int

const (
	restlessAfter = 5
	restlessFirst = 50 * time.Millisecond
	restlessCap   = 10 * time.Second
)

// after takes a turn into account and returns how long to pause.
func (r *restless) after(forNothing bool) time.Duration {
	if !forNothing {
		*r = 0
		return 0
	}
	*r = min(*r+1, restlessAfter+16)
	if *r <= restlessAfter {
		return 0
	}
	return min(restlessFirst<<(*r-restlessAfter), restlessCap)
}

// poll compares all folders with what is known, whatever the server told of
// them. It also looks at INBOX, for servers accept IDLE and never push.
func (o *owner) poll(ctx context.Context, conn *imapconn.Conn) error {
	began, fair, hinted := time.Now(), o.fair(conn), o.hinted
	o.elsewhere, o.hinted = false, make(map[*folderState]bool)
	changed, err := o.updateFolders(ctx, conn)
	if err != nil {
		return err
	}
	if err := o.find(ctx, conn, fair, func() error { return o.pollInbox(ctx, conn) }); err != nil {
		return err
	}
	if !conn.Has(imap.CapCondStore) {
		changed = o.rotate(changed)
	}
	took := time.Since(began)
	look := func() error { return o.lookElsewhere(ctx, conn, changed) }
	if err := o.learn(changed, hinted, fair, look); err != nil {
		return err
	}
	if err := o.finishSync(ctx); err != nil {
		return err
	}
	o.posts.keep(ctx, o.postNames())
	o.planPoll(conn, took)
	return o.watched(ctx)
}

// pollInbox looks at all of INBOX. There are servers that show new mail to none
// but a new SELECT, so as long as a server has not shown to tell of it by itself
// INBOX is opened anew.
func (o *owner) pollInbox(ctx context.Context, conn *imapconn.Conn) error {
	if !conn.Has(imap.CapIdle) || !o.pushes.proved() && !conn.Has(imap.CapListStatus) {
		return o.openInbox(ctx, conn)
	}
	if err := o.lookAtInbox(ctx, conn, false, true); err != nil || !o.inbox.lagging() {
		return err
	}
	return o.openInbox(ctx, conn)
}

// check looks at INBOX between two polls, and proves that the link is alive.
func (o *owner) check(ctx context.Context, conn *imapconn.Conn) error {
	silent := o.pushes.silent
	err := o.find(ctx, conn, o.fair(conn), func() error { return o.checkInbox(ctx, conn) })
	if err != nil {
		return err
	}
	o.planLook(conn)
	if o.pushes.silent != silent {
		return o.watched(ctx)
	}
	return nil
}

func (o *owner) checkInbox(ctx context.Context, conn *imapconn.Conn) error {
	if o.pushes.silent || imapconn.ProviderOf(o.account.IMAP.Host).NewsBySelect {
		return o.openInbox(ctx, conn)
	}
	conn.QueueIdle()
	if err := conn.Noop(ctx); err != nil {
		return err
	}
	hints := conn.Updates()
	o.point(hints)
	if !hints.Mailbox() {
		return nil
	}
	return o.lookAtInbox(ctx, conn, false, hints.Expunged || hints.Flags)
}

// find runs a look at INBOX that the server has not brought about, and learns
// from it whether the server tells of new mail.
func (o *owner) find(ctx context.Context, conn *imapconn.Conn, fair bool, look func() error) error {
	before := o.inbox.told.UIDNext
	if err := look(); err != nil {
		return err
	}
	if o.inbox.told.UIDNext <= before {
		return ctx.Err()
	}
	// What was told of and could not be fetched at first was told of.
	if !o.promised && conn.Has(imap.CapIdle) {
		o.pushes.misses(fair)
	}
	o.promised = false
	return nil
}

// rotate adds one folder, whichever, to those to look at: without CONDSTORE,
// flags other than \Seen change without any trace in STATUS.
func (o *owner) rotate(changed []*folderState) []*folderState {
	now := time.Now()
	for _, f := range o.names { // in random order
		if o.asksAfter(f, now) && !slices.Contains(changed, f) {
			return append(changed, f)
		}
	}
	return changed
}
