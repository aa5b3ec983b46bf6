package idle

import (
	"context"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
)

// point takes note of what hints say of folders other than INBOX.
func (o *owner) point(hints imapconn.Updates) {
	o.elsewhere = o.elsewhere || hints.Overflow || hints.Listed || hints.NotifyEnded
	o.notify.lost = o.notify.lost || hints.NotifyEnded
	for _, name := range hints.Folders {
		o.pointTo(name, true)
	}
}

// pointTo takes note that a folder has changed, and whether NOTIFY told so.
func (o *owner) pointTo(name string, byNotify bool) {
	f := o.names[name]
	switch {
	case f == nil:
		o.elsewhere = true // which one it is, only a list tells
	case f == o.inbox:
		o.nextLook = time.Now()
	case f.excluded:
	default:
		o.hinted[f] = o.hinted[f] || byNotify
	}
}

// dueFolders are the folders to ask after, because the server told of a change
// or because it is time.
func (o *owner) dueFolders(now time.Time) []*folderState {
	for _, name := range o.changed.takeNamed() {
		o.pointTo(name, false)
	}
	folders := make([]*folderState, 0, len(o.hinted))
	for f := range o.hinted {
		folders = append(folders, f)
	}
	if now.Before(o.nextAsk) {
		return folders
	}
	for _, f := range o.names {
		_, hinted := o.hinted[f]
		if !hinted && o.asksAfter(f, now) && !now.Before(f.asked.Add(o.askPace(f, now))) {
			folders = append(folders, f)
		}
	}
	return folders
}

// asksAfter reports whether a folder is one of those that are asked after.
func (o *owner) asksAfter(f *folderState, now time.Time) bool {
	return f != o.inbox && !f.excluded && !now.Before(f.parked)
}

// askPace is how long after a folder was asked after it is to be again.
func (o *owner) askPace(f *folderState, now time.Time) time.Duration {
	interval := o.interval()
	switch {
	case f.started && f.listed != f.mark:
		return interval / eager // there is something that could not be looked at
	case o.calm() && o.covered(f):
		return pollPace(interval, true)
	}
	return f.rhythm.pace(now, interval)
}

// planAsk sets the time at which a folder is to be asked after.
func (o *owner) planAsk(now time.Time) {
	o.nextAsk = o.nextPoll
	for _, f := range o.names {
		if o.asksAfter(f, now) {
			if at := f.asked.Add(o.askPace(f, now)); at.Before(o.nextAsk) {
				o.nextAsk = at
			}
		}
	}
}

// ask asks after some folders, in one round trip, and looks at those that have
// changed.
func (o *owner) ask(ctx context.Context, conn *imapconn.Conn, folders []*folderState) error {
	hinted, fair, partial := o.hinted, o.fair(conn), o.partial != nil
	o.hinted = make(map[*folderState]bool)
	names := make([]string, len(folders))
	for i, f := range folders {
		names[i] = f.Name
	}
	results, err := conn.StatusAll(ctx, names, statusItems())
	if err != nil {
		return err
	}
	var changed []*folderState
	for i, result := range results {
		f := folders[i]
		switch {
		case result.Err != nil && isThrottled(result.Err):
			f.asked = time.Now()
			continue
		case result.Err != nil:
			o.elsewhere = true // it went, or has another name
			f.asked = time.Now()
			continue
		}
		if _, told := hinted[f]; told && !conn.Has(imap.CapCondStore) {
			f.mark = mark{} // STATUS tells of no flag but \Seen
		}
		f.listedAs(result.Data)
		if f.due() {
			changed = append(changed, f)
		} else if f.listed == f.mark {
			o.synced.set(f.Key)
		}
	}
	look := func() error { return o.lookAtEach(ctx, conn, changed) }
	if err := o.learn(changed, hinted, fair, look); err != nil {
		return err
	}
	o.planAsk(time.Now())
	if (o.partial != nil) != partial || o.posts.all != nil {
		return o.watched(ctx)
	}
	return nil
}

// learn runs a look at folders that have changed, and learns from what it finds
// whether the server tells of changes. fair says that it had time enough for it.
func (o *owner) learn(changed []*folderState, hinted map[*folderState]bool, fair bool, look func() error) error {
	before := make([]imap.UID, len(changed))
	for i, f := range changed {
		before[i] = f.told.UIDNext
	}
	if err := look(); err != nil {
		return err
	}
	for i, f := range changed {
		switch grew := f.told.UIDNext > before[i]; {
		case !o.notify.on || !grew:
		case hinted[f]:
			f.missed, o.notify.proved = 0, true
		case fair && o.covered(f):
			f.missed, o.notify.proved = f.missed+1, false
		}
	}
	return nil
}

// fair reports whether the server had time to tell of what is found now.
func (o *owner) fair(conn *imapconn.Conn) bool {
	return o.idling && time.Since(conn.LastHeard()) >= o.config.pushGrace
}
