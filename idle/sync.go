package idle

import (
	"context"
	"time"

	"github.com/postern-mail/postern/internal/event"
)

// A sync is one comparison of all folders with what is known of them: the first
// one of an account, and one for each time somebody asks for it. Its beginning
// and its end are announced. How many of either the log has is stored with where
// the account's events begin; a sync that a crash interrupts goes on, and is not
// announced again.

// wantedSync is the number of the sync that is wanted last.
func (o *owner) wantedSync() uint64 { return o.account.Resyncs + 1 }

// syncing reports whether a sync has begun and not ended.
func (o *owner) syncing() bool { return o.first.SyncStarted > o.first.SyncCompleted }

// beginSync announces the sync that is wanted, if there is one that has not
// begun. The folders have been listed.
func (o *owner) beginSync(ctx context.Context) error {
	if o.first.SyncStarted >= o.wantedSync() {
		return nil
	}
	watched := 0
	for _, f := range o.names {
		if !f.excluded {
			watched++
		}
	}
	if err := o.tell(ctx, &event.AccountSyncStarted{AccountRef: event.AccountAt(o.id()), Folders: watched}); err != nil {
		return err
	}
	o.recheckAll()
	return o.countSync(ctx, o.wantedSync(), o.first.SyncCompleted)
}

// recheckAll has all folders compared message by message, where that has not
// just been done: the first sync knows of nothing to compare with.
func (o *owner) recheckAll() {
	for _, f := range o.folders {
		f.recheck = f.started
	}
}

// finishSync announces the end of a sync once all of it is done.
func (o *owner) finishSync(ctx context.Context) error {
	if whole := o.partial == nil; !whole || !o.syncing() {
		return nil
	}
	for _, f := range o.names {
		if !f.excluded && time.Now().After(f.parked) && f.unsynced() {
			return nil
		}
	}
	err := o.tell(ctx, &event.AccountSyncCompleted{
		AccountRef: event.AccountAt(o.id()), Folders: len(o.folders), Messages: o.messages(),
	})
	if err != nil {
		return err
	}
	return o.countSync(ctx, o.first.SyncStarted, o.first.SyncStarted)
}

// unsynced reports whether something of the folder is yet to be compared or
// told.
func (f *folderState) unsynced() bool {
	return !f.started || f.recheck || f.resetting || f.uidsUnknown || f.backlog || f.backfill > 0
}

// countSync stores how many syncs the log has the beginning and the end of.
func (o *owner) countSync(ctx context.Context, started, completed uint64) error {
	first := *o.first
	first.SyncStarted, first.SyncCompleted = started, completed
	if err := o.config.Checkpoints.SaveFirst(ctx, o.id(), &first); err != nil {
		return logFailed(err)
	}
	o.first = &first
	return nil
}

// replaySync takes note of the beginning or the end of a sync that the log tells
// of, in case that its writer did not get to count it.
func (o *owner) replaySync(data any) {
	first := *o.first
	switch data.(type) {
	case *event.AccountSyncStarted:
		first.SyncStarted = max(first.SyncStarted, first.SyncCompleted+1)
	case *event.AccountSyncCompleted:
		first.SyncCompleted = first.SyncStarted
	}
	o.first = &first
}

// messages counts what is known to be in the account's folders.
func (o *owner) messages() int64 {
	var n int64
	for _, f := range o.folders {
		n += int64(f.told.Count())
	}
	return n
}
