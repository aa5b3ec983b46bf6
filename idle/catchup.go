package idle

import (
	"context"
	"errors"
	"time"

	"github.com/postern-mail/postern/internal/imapconn"
)

// catchUp brings everything that is known up to date on a new connection, INBOX
// first, and leaves INBOX open on it with IDLE on.
func (o *owner) catchUp(ctx context.Context, conn *imapconn.Conn) error {
	changed, err := o.updateFolders(ctx, conn)
	if err != nil {
		return err
	}
	if err := o.openInbox(ctx, conn); err != nil {
		return err
	}
	if err := o.lookElsewhere(ctx, conn, changed); err != nil {
		return err
	}
	o.planPoll(conn, 0)
	if err := o.save(ctx); err != nil {
		return err
	}
	o.nextSave = time.Now().Add(savePace)
	return o.finishSync(ctx)
}

// openInbox opens INBOX and looks at all of it.
func (o *owner) openInbox(ctx context.Context, conn *imapconn.Conn) error {
	if _, err := conn.Select(ctx, inboxName, &imapconn.SelectOptions{ReadOnly: true}); err != nil {
		return err
	}
	if err := o.lookAtInbox(ctx, conn, true, true); err != nil {
		return err
	}
	o.inbox.mark = o.inbox.listed
	return nil
}

// lookElsewhere looks at folders other than INBOX, on request connections. In
// between it lets INBOX come first: a long catch-up of an archive must not make
// new mail wait. When there is no connection to be had for them, INBOX is
// watched all the same; they are tried again when they are next asked after, and
// not before the server wants to be.
func (o *owner) lookElsewhere(ctx context.Context, conn *imapconn.Conn, folders []*folderState) error {
	o.round++
	if err := o.lookAtEach(ctx, conn, folders); err != nil {
		return err
	}
	return o.release(ctx)
}

// lookAtEach is lookElsewhere for folders that are not all that there are.
func (o *owner) lookAtEach(ctx context.Context, conn *imapconn.Conn, folders []*folderState) error {
	if len(folders) == 0 {
		if o.partial != nil && !o.pending() {
			o.partial = nil
		}
		return nil
	}
	if time.Now().Before(o.othersAfter) {
		return nil
	}
	o.partial = nil
	for _, f := range folders {
		for more := true; more; {
			var err error
			look := func() error {
				var err error
				more, err = o.lookAt(ctx, f)
				return err
			}
			if f.backlog {
				err = o.bulk(ctx, look)
			} else {
				err = look()
			}
			if err != nil && (ctx.Err() != nil || isLogError(err) || credentialsRefused(err)) {
				return err
			}
			if imapconn.WorthRepeating(err) {
				more, err = true, nil
			}
			if err != nil {
				o.log.Info("folders cannot be looked at", "error", err)
				o.partial = err
				if after, ok := imapconn.RetryAfter(err); ok {
					o.othersAfter = time.Now().Add(jittered(after))
				}
				return nil
			}
			if err := o.glance(ctx, conn); err != nil {
				return err
			}
		}
	}
	return nil
}

// pending reports whether there are folders that have changed and could not be
// looked at.
func (o *owner) pending() bool {
	now := time.Now()
	for _, f := range o.names {
		if o.asksAfter(f, now) && f.started && f.listed != f.mark {
			return true
		}
	}
	return false
}

// glance looks at INBOX if the server has told of a change there.
func (o *owner) glance(ctx context.Context, conn *imapconn.Conn) error {
	activity, err := conn.Idle(ctx, 0)
	var (
		lacking *imapconn.CapabilityError
		refused *imapconn.Error
	)
	if errors.As(err, &lacking) || errors.As(err, &refused) {
		return nil // the next poll looks
	}
	if err != nil {
		return err
	}
	return o.react(ctx, conn, activity)
}

// react looks at INBOX if hints of the server point there, and takes note of the
// folders that they point to.
func (o *owner) react(ctx context.Context, conn *imapconn.Conn, activity imapconn.Activity) error {
	hints := activity.Updates
	for _, alert := range hints.Alerts { // RFC 9051 section 7.1: for the user's eyes
		o.log.Warn("the server wants to be read", "alert", alert)
	}
	o.point(hints)
	if !hints.Mailbox() {
		return nil
	}
	before, more := o.inbox.told.UIDNext, uint64(conn.NumMessages()) > o.inbox.told.Count()
	if err := o.lookAtInbox(ctx, conn, false, hints.Expunged || hints.Flags); err != nil || !activity.Pushed {
		return err
	}
	if o.inbox.told.UIDNext == before {
		o.promised = o.promised || hints.Exists && more
		return nil
	}
	o.promised = false
	silent := o.pushes.silent
	if o.pushes.tells(); o.pushes.silent != silent {
		return o.watched(ctx)
	}
	return nil
}

// lookAt opens a folder on a request connection and looks at it. more says that
// there is more new mail than one look takes.
func (o *owner) lookAt(ctx context.Context, f *folderState) (more bool, err error) {
	whole := false
	err = o.config.Connector.Do(ctx, o.id(), "", &imapconn.DoOptions{ReadOnly: true}, func(conn *imapconn.Conn) error {
		if _, err := conn.Select(ctx, f.Name, &imapconn.SelectOptions{ReadOnly: true}); err != nil {
			return err
		}
		var err error
		more, err = o.lookAtOpened(ctx, conn, f, true, true)
		whole = err == nil && f.told.Count() == uint64(conn.NumMessages())
		return err
	})
	var (
		refused  *imapconn.Error
		unsteady *unsteadyError
	)
	switch {
	case errors.As(err, &unsteady):
		f.parked = time.Now().Add(phantomPause)
		return false, o.tellGap(ctx, f, err.Error()+". It is left alone for some hours.")
	case errors.As(err, &refused) && !isThrottled(err):
		o.unselectable(f, err)
		return false, nil
	case err != nil:
		return false, err
	}
	f.failures = 0
	if !more {
		o.synced.set(f.Key)
	}
	if !more && whole {
		f.mark = f.listed
	}
	return more, nil
}

func isThrottled(err error) bool {
	_, throttled := imapconn.RetryAfter(err)
	return throttled
}

func isLogError(err error) bool {
	var logErr *logError
	return errors.As(err, &logErr)
}
