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

const (
	// savePace is how often snapshots follow what was announced. Between two
	// of them the log itself is what remembers.
	savePace = 30 * time.Second
	// noIdlePoll is how often INBOX is looked at on servers without IDLE.
	noIdlePoll = 15 * time.Second
)

// schedule sets the time of the next poll. It is spread out, so that accounts
// that connected together do not poll together for ever.
func (o *owner) schedule() {
	interval := o.config.PollInterval
	if o.account.Watch.PollInterval > 0 {
		interval = o.account.Watch.PollInterval
	}
	now := time.Now()
	o.nextPoll = now.Add(interval - rand.N(interval/10+1)) //nolint:gosec // spreads, hides nothing
	if o.holds() {
		o.nextPoll = now // what is held back waits for a look at all folders
	}
	o.nextSave = now.Add(savePace)
}

// watch waits for what the server tells, looks where it points, and polls what
// is not pushed. It returns when the connection fails or ctx ends.
func (o *owner) watch(ctx context.Context, conn *imapconn.Conn) error {
	var restless restless
	for {
		hints, woken, err := o.wait(ctx, conn)
		if err != nil {
			return err
		}
		if err := o.takeUpdate(ctx); err != nil {
			return err
		}
		told := o.status.Counters.Events
		if err := o.react(ctx, conn, hints); err != nil {
			return err
		}
		if o.elsewhere || !time.Now().Before(o.nextPoll) {
			if err := o.poll(ctx, conn); err != nil {
				return err
			}
			o.schedule()
		}
		if !time.Now().Before(o.nextSave) {
			if err := o.save(ctx); err != nil {
				return err
			}
			o.nextSave = time.Now().Add(savePace)
		}
		o.refreshStatus(ctx)
		pause := restless.after(woken && o.status.Counters.Events == told)
		if err := o.rest(ctx, min(pause, time.Until(o.nextPoll))); err != nil {
			return err
		}
	}
}

// wait returns what the server told, or nothing when it is time to do something.
// woken says that the server ended the wait.
func (o *owner) wait(ctx context.Context, conn *imapconn.Conn) (hints imapconn.Updates, woken bool, err error) {
	until := time.Until(o.nextPoll)
	if o.unsaved() {
		until = min(until, time.Until(o.nextSave))
	}
	if !conn.Has(imap.CapIdle) {
		hints, err = o.waitWithoutIdle(ctx, conn, min(until, noIdlePoll))
		return hints, false, err
	}
	activity, err := conn.Idle(ctx, max(until, 0))
	var refused *imapconn.Error
	if errors.As(err, &refused) {
		// It has IDLE and refuses it now and then; looking is as good.
		hints, err = o.waitWithoutIdle(ctx, conn, min(until, noIdlePoll))
		return hints, false, err
	}
	woken = activity.Reason == imapconn.ActivityUpdate || activity.Reason == imapconn.ActivityEnded
	return activity.Updates, woken, err
}

// waitWithoutIdle is a pause after which the server is asked for news (RFC 9051
// section 6.1.2) and INBOX is to be looked at.
func (o *owner) waitWithoutIdle(ctx context.Context, conn *imapconn.Conn, d time.Duration) (imapconn.Updates, error) {
	if err := o.rest(ctx, d); err != nil {
		return imapconn.Updates{}, err
	}
	if err := conn.Noop(ctx); err != nil {
		return imapconn.Updates{}, err
	}
	hints := conn.Updates()
	hints.Exists, hints.Flags = true, true
	return hints, nil
}

// rest waits for a time.
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
		return nil
	}
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

// poll compares all folders with what is known. It also looks at INBOX, for
// servers accept IDLE and never push; and it proves that the link is alive.
func (o *owner) poll(ctx context.Context, conn *imapconn.Conn) error {
	o.elsewhere = false
	changed, err := o.updateFolders(ctx, conn)
	if err != nil {
		return err
	}
	if !conn.Has(imap.CapIdle) {
		// There are servers that show new mail to none but a new SELECT.
		err = o.openInbox(ctx, conn)
	} else if err = o.lookAtInbox(ctx, conn, false, true); err == nil && o.inbox.lagging() {
		err = o.openInbox(ctx, conn)
	}
	if err != nil {
		return err
	}
	if !conn.Has(imap.CapCondStore) {
		changed = o.rotate(changed)
	}
	if err := o.lookElsewhere(ctx, conn, changed); err != nil {
		return err
	}
	return o.watched(ctx)
}

// rotate adds one folder, whichever, to those to look at: without CONDSTORE,
// flags other than \Seen change without any trace in STATUS.
func (o *owner) rotate(changed []*folderState) []*folderState {
	for _, f := range o.names { // in random order
		if f != o.inbox && !f.excluded && time.Now().After(f.parked) && !slices.Contains(changed, f) {
			return append(changed, f)
		}
	}
	return changed
}
