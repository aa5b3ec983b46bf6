package idle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
)

const (
	// notifyPause is how long an account does without NOTIFY after the server
	// could not keep it up.
	notifyPause = time.Hour
	// notifyEnds is how many times in a session a server may give up notifying
	// and be asked again.
	notifyEnds = 3
)

// errNotifyLost ends a session in which the server no longer notifies. After
// NOTIFICATIONOVERFLOW it tells nothing at all, not even of the folder that is
// open (RFC 5465 section 5.8); a new connection begins as servers without
// NOTIFY do.
var errNotifyLost = errors.New("the server has given up telling of changes (NOTIFY); it goes on without")

// notifyForms are the commands to try, the best first. Events go in the groups
// that RFC 5465 section 5 asks for. Excluded folders are not named: servers
// differ in whether they pass NONE over (Dovecot does), and a hint that nobody
// follows is cheap.
func notifyForms() [][]imapconn.NotifyGroup {
	messages := []imapconn.NotifyEvent{imapconn.NotifyMessageNew, imapconn.NotifyMessageExpunge, imapconn.NotifyFlagChange}
	selected := imapconn.NotifyGroup{Scope: imapconn.NotifySelected, Events: messages}
	return [][]imapconn.NotifyGroup{
		{selected, {Scope: imapconn.NotifyPersonal, Events: append(messages[:3:3], imapconn.NotifyMailboxName)}},
		{selected, {Scope: imapconn.NotifyPersonal, Events: messages}},
	}
}

// notifying is how an account and NOTIFY stand.
type notifying struct {
	// on says that the server accepted it on this connection, and names that it
	// tells of the names of folders too.
	on, names bool
	// proved says that the server has told of a change before that was found.
	proved bool
	// foreign are the prefixes of folders that PERSONAL leaves out: other users'
	// and shared ones.
	foreign []string
	// lost says that the server has given up, for the ends-th time. It is not
	// asked before retry.
	lost  bool
	ends  int
	retry time.Time
}

// beginNotify has the server tell of all folders where it can (RFC 5465). It
// comes before the folders are listed, so that no change falls in between. IDLE
// is still what waits, and servers that have NOTIFY without IDLE are not known.
func (o *owner) beginNotify(ctx context.Context, conn *imapconn.Conn) error {
	n := &o.notify
	n.on, n.lost, n.ends, n.foreign = false, false, 0, nil
	if !conn.Has(imap.CapNotify) || !conn.Has(imap.CapIdle) || time.Now().Before(n.retry) {
		return nil
	}
	if err := o.setNotify(ctx, conn); err != nil || !n.on || !conn.Has(imap.CapNamespace) {
		return err
	}
	spaces, err := conn.Namespace(ctx)
	var refused *imapconn.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, space := range slices.Concat(spaces.Other, spaces.Shared) {
		if space.Prefix != "" {
			n.foreign = append(n.foreign, space.Prefix)
		}
	}
	return nil
}

func (o *owner) setNotify(ctx context.Context, conn *imapconn.Conn) error {
	for i, groups := range notifyForms() {
		_, err := conn.Notify(ctx, false, groups...)
		var refused *imapconn.Error
		if errors.As(err, &refused) {
			o.log.Info("the server refuses NOTIFY", "error", err)
			continue
		}
		o.notify.on, o.notify.names = err == nil, i == 0
		return err
	}
	return nil
}

// renotify asks a server that gave up notifying to begin again.
func (o *owner) renotify(ctx context.Context, conn *imapconn.Conn) error {
	n := &o.notify
	n.on, n.lost = false, false
	if n.ends++; n.ends <= notifyEnds {
		if err := o.setNotify(ctx, conn); err != nil {
			return err
		}
	}
	if !n.on {
		n.retry = time.Now().Add(notifyPause)
		return errNotifyLost
	}
	return nil
}

// covered reports whether NOTIFY tells of a folder, as far as is known.
func (o *owner) covered(f *folderState) bool {
	return o.notify.on && f.missed < enoughPushes &&
		!slices.ContainsFunc(o.notify.foreign, func(prefix string) bool { return strings.HasPrefix(f.Name, prefix) })
}

// calm reports whether folders need not be compared at every interval, because
// the server tells of what happens in them and to them.
func (o *owner) calm() bool {
	return o.notify.on && o.notify.names && o.notify.proved && o.partial == nil
}
