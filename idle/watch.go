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
func (o *owner) schedule(now time.Time) {
	interval := o.config.PollInterval
	if o.account.Watch.PollInterval > 0 {
		interval = o.account.Watch.PollInterval
	}
	o.nextPoll = now.Add(interval - rand.N(interval/10+1))
	o.nextSave = now.Add(savePace)
}

// watch waits for what the server tells, looks where it points, and polls what
// is not pushed. It returns when the connection fails or ctx ends.
func (o *owner) watch(ctx context.Context, conn *imapconn.Conn) error {
	for {
		updates, err := o.wait(ctx, conn)
		if err != nil {
			return err
		}
		if err := o.takeUpdate(ctx); err != nil {
			return err
		}
		for _, alert := range updates.Alerts { // RFC 9051 section 7.1: for the user's eyes
			o.log.Warn("the server wants to be read", "alert", alert)
		}
		if err := o.react(ctx, conn, updates); err != nil {
			return err
		}
		now := time.Now()
		// A folder that NOTIFY or a stray STATUS named is found by a poll,
		// which compares all of them in one round trip.
		if !now.Before(o.nextPoll) || len(updates.Folders) > 0 || updates.Overflow {
			if err := o.poll(ctx, conn); err != nil {
				return err
			}
			o.schedule(now)
		}
		if !now.Before(o.nextSave) {
			if err := o.save(ctx); err != nil {
				return err
			}
			o.nextSave = now.Add(savePace)
		}
		o.refreshStatus(ctx)
	}
}

// wait returns what the server told, or nothing when it is time to do something.
func (o *owner) wait(ctx context.Context, conn *imapconn.Conn) (imapconn.Updates, error) {
	until := time.Until(o.nextPoll)
	if o.dirty() {
		until = min(until, time.Until(o.nextSave))
	}
	if !conn.Has(imap.CapIdle) {
		return o.waitWithoutIdle(ctx, min(until, noIdlePoll))
	}
	activity, err := conn.Idle(ctx, max(until, 0))
	var refused *imapconn.Error
	if errors.As(err, &refused) {
		// It has IDLE and refuses it now and then; looking is as good.
		return o.waitWithoutIdle(ctx, min(until, noIdlePoll))
	}
	return activity.Updates, err
}

// waitWithoutIdle is a pause after which INBOX is to be looked at.
func (o *owner) waitWithoutIdle(ctx context.Context, d time.Duration) (imapconn.Updates, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return imapconn.Updates{}, ctx.Err()
	case <-timer.C:
		return imapconn.Updates{Exists: true, Flags: true}, nil
	}
}

// dirty reports whether there is something to save.
func (o *owner) dirty() bool {
	if o.statusDirty {
		return true
	}
	for _, f := range o.folders {
		if f.dirty {
			return true
		}
	}
	return false
}

// poll compares all folders with what is known. It also looks at INBOX, for
// servers accept IDLE and never push; and it proves that the link is alive.
func (o *owner) poll(ctx context.Context, conn *imapconn.Conn) error {
	changed, err := o.updateFolders(ctx, conn)
	if err != nil {
		return err
	}
	if err := o.lookAtInbox(ctx, conn, nil, true); err != nil {
		return err
	}
	if !conn.Has(imap.CapCondStore) {
		changed = o.rotate(changed)
	}
	return o.lookElsewhere(ctx, conn, changed)
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
