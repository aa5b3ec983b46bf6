package idle

import (
	"context"
	"errors"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
)

// catchUp brings everything that is known up to date on a new connection, INBOX
// first, and leaves INBOX open on it with IDLE on.
func (o *owner) catchUp(ctx context.Context, conn *imapconn.Conn) error {
	changed, err := o.updateFolders(ctx, conn)
	if err != nil {
		return err
	}
	if o.inbox == nil {
		return errNoInbox
	}
	data, err := conn.Select(ctx, inboxName, &imapconn.SelectOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	started := o.inbox.started
	if err := o.lookAtInbox(ctx, conn, data, true); err != nil {
		return err
	}
	if err := o.lookElsewhere(ctx, conn, changed); err != nil {
		return err
	}
	o.schedule(time.Now())
	if err := o.save(ctx); err != nil {
		return err
	}
	if started {
		return nil
	}
	return o.tell(ctx, &event.AccountSyncCompleted{AccountRef: event.AccountAt(o.id()), Folders: len(o.folders), Messages: o.messages()})
}

// messages counts what is known to be in the account's folders.
func (o *owner) messages() int64 {
	var n int64
	for _, f := range o.folders {
		n += int64(f.told.Count())
	}
	return n
}

// lookElsewhere looks at folders other than INBOX, on request connections. In
// between it lets INBOX come first: a long catch-up of an archive must not make
// new mail wait.
func (o *owner) lookElsewhere(ctx context.Context, conn *imapconn.Conn, folders []*folderState) error {
	for _, f := range folders {
		for more := true; more; {
			var err error
			if more, err = o.lookAt(ctx, f); err != nil {
				return err
			}
			if err := o.glance(ctx, conn); err != nil {
				return err
			}
		}
	}
	return nil
}

// glance looks at INBOX if the server has told of a change there.
func (o *owner) glance(ctx context.Context, conn *imapconn.Conn) error {
	activity, err := conn.Idle(ctx, 0)
	var lacking *imapconn.CapabilityError
	if errors.As(err, &lacking) {
		return nil // without IDLE the next poll looks
	}
	if err != nil {
		return err
	}
	return o.react(ctx, conn, activity.Updates)
}

// react looks at INBOX after hints of the server.
func (o *owner) react(ctx context.Context, conn *imapconn.Conn, hints imapconn.Updates) error {
	if !hints.Mailbox() {
		return nil
	}
	return o.lookAtInbox(ctx, conn, nil, hints.Expunged || hints.Flags)
}

// lookAt opens a folder on a request connection and looks at it. more says that
// there is more new mail than one look takes.
func (o *owner) lookAt(ctx context.Context, f *folderState) (more bool, err error) {
	err = o.config.Connector.Do(ctx, o.id(), "", &imapconn.DoOptions{ReadOnly: true}, func(conn *imapconn.Conn) error {
		data, err := conn.Select(ctx, f.Name, &imapconn.SelectOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		more, err = o.lookAtOpened(ctx, conn, f, data, true)
		return err
	})
	var refused *imapconn.Error
	switch {
	case errors.As(err, &refused):
		if _, throttled := imapconn.RetryAfter(err); throttled {
			return false, err
		}
		o.unselectable(f, err)
		return false, nil
	case err != nil:
		return false, err
	}
	f.failures = 0
	if !more {
		f.mark = f.listed
	}
	return more, nil
}
