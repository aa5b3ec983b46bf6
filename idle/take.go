package idle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
)

// take finds out what the log has been told of the account, and fences off
// whoever wrote before: a former owner that was only paused states a head that
// is no longer the account's, and is refused.
func (o *owner) take(ctx context.Context) error {
	o.folders, o.names, o.inbox = make(map[folder.Key]*folderState), nil, nil
	o.gone, o.submissions = make(map[folder.Key]bool), make(map[string]int)
	o.created, o.deleted, o.paused, o.lost, o.bounced = false, false, false, "", nil
	if err := o.loadFirst(ctx); err != nil {
		return err
	}
	from, known, err := o.loadSnapshots(ctx)
	if err != nil {
		return err
	}
	if o.writer, err = o.config.Log.Writer(ctx, o.id(), known); err != nil {
		return err
	}
	if err := o.rollForward(ctx, from); err != nil {
		return err
	}
	if err := o.noteReplayed(ctx); err != nil {
		return err
	}
	if err := o.forgetGone(ctx); err != nil {
		return err
	}
	if err := o.nameFolders(ctx); err != nil {
		return err
	}
	if o.syncing() {
		o.recheckAll()
	}
	// What is appended here builds upon all that was replayed: had somebody
	// else appended in between, it would be refused.
	return o.tell(ctx, o.takenFacts()...)
}

// noteReplayed notes in the submissions what the log says of them. Once a position
// is saved, the log up to there is not asked again.
func (o *owner) noteReplayed(ctx context.Context) error {
	if err := o.noteTold(ctx, o.submissions); err != nil {
		return err
	}
	if err := o.markBounced(ctx, o.bounced); err != nil {
		return err
	}
	o.submissions, o.bounced = nil, nil
	return nil
}

// takenFacts are what is told when an account is taken.
func (o *owner) takenFacts() []event.Data {
	ref := event.AccountAt(o.id())
	var facts []event.Data
	if !o.created {
		if o.first.Replaces && !o.deleted {
			facts = append(facts, &event.AccountDeleted{AccountRef: ref})
		}
		facts = append(facts, &event.AccountCreated{AccountRef: ref, Email: o.account.Email})
	}
	facts = append(facts, &event.AccountOwnerChanged{AccountRef: ref, Node: o.config.Node})
	if o.paused && !o.account.Paused {
		facts = append(facts, &event.AccountResumed{AccountRef: ref})
	}
	if o.lost != "" {
		facts = append(facts, &event.AccountGap{AccountRef: ref, Reason: o.lost})
	}
	return facts
}

// loadFirst reads where the account's events begin and which folders it had at
// first. What is left of an earlier registration under the same id is forgotten:
// it was another mailbox. Where the new one begins is stored before anything is
// told of it, so that the two are never taken for one.
func (o *owner) loadFirst(ctx context.Context) error {
	first, err := o.config.Checkpoints.LoadFirst(ctx, o.id())
	if err != nil {
		return err
	}
	if first != nil && first.Incarnation == o.incarnation() {
		o.first, o.created = first, first.Folders != nil
		return nil
	}
	if first != nil {
		if err := forget(ctx, o.config, o.id()); err != nil {
			return err
		}
	}
	last, err := o.config.Log.Last(ctx, o.id())
	if err != nil {
		return err
	}
	o.first = &folder.First{Incarnation: o.incarnation()}
	if last != nil {
		o.first.After = folder.Position{Sequence: last.Sequence(), Number: last.Number}
		o.first.Replaces = last.Type != event.TypeAccountDeleted
	}
	return o.config.Checkpoints.SaveFirst(ctx, o.id(), o.first)
}

func (o *owner) incarnation() string { return o.account.CreateTime.UTC().Format(time.RFC3339Nano) }

// loadSnapshots restores the folders. It returns from where on the log has to be
// replayed, and the highest number that the account's events are known to have
// reached.
func (o *owner) loadSnapshots(ctx context.Context) (from eventlog.Head, known uint64, err error) {
	// The position before the snapshots: what is saved in between only makes
	// the snapshots newer than it says.
	if o.saved, err = o.config.Checkpoints.LoadPosition(ctx, o.id()); err != nil {
		return from, 0, err
	}
	snapshots, err := o.config.Checkpoints.Load(ctx, o.id())
	if err != nil {
		return from, 0, err
	}
	from = eventlog.Head(o.first.After)
	if o.saved.Number > from.Number {
		from = eventlog.Head(o.saved)
	}
	known = from.Number
	for key, snapshot := range snapshots {
		f := &folderState{Folder: folder.Folder{Key: key}}
		f.restore(snapshot)
		f.covered = max(snapshot.Number, from.Number)
		known = max(known, snapshot.Number)
		o.folders[key] = f
	}
	return from, known, nil
}

// rollForward applies the account's events behind the snapshots.
func (o *owner) rollForward(ctx context.Context, after eventlog.Head) error {
	_, err := o.config.Log.Replay(ctx, o.id(), after, o.replay)
	var gap *eventlog.GapError
	if !errors.As(err, &gap) {
		return err
	}
	// The owner was away for longer than the log remembers. What was announced
	// in between and is forgotten may be announced again; say so.
	o.lost = "The event log no longer reaches back to where this account was last watched. " +
		"Changes from that time may be missing or announced again."
	_, err = o.config.Log.Replay(ctx, o.id(), eventlog.Head{}, o.replay)
	for _, f := range o.folders {
		f.uidsUnknown = true // what was created and deleted in the gap is not in the list
	}
	return err
}

// forgetGone drops what is kept about folders whose end was told, in case that
// a former owner did not get to it. What is kept would come to life again.
func (o *owner) forgetGone(ctx context.Context) error {
	for key := range o.gone {
		if err := o.forgetFolder(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// nameFolders gives the folders the names by which the log knows them, by which
// those that were renamed meanwhile are recognised.
func (o *owner) nameFolders(ctx context.Context) error {
	known, _, err := o.config.Folders.All(ctx, o.id())
	if err != nil {
		return err
	}
	o.names = make(map[string]*folderState, len(o.folders))
	for _, k := range known {
		f := o.folders[k.Key]
		if f == nil {
			continue
		}
		if k.Was != "" && slices.Equal(f.renamedTo, k.Path()) {
			// It was told, and the teller did not get to take note of it.
			if err := o.config.Folders.Told(ctx, o.id(), k.Key); err != nil {
				return err
			}
			k.Was = ""
		}
		f.Folder = k.Told()
		if !k.Deleted { // by the API: its end is yet to be told
			o.names[f.Name] = f
		}
	}
	return nil
}

func (o *owner) replay(entry *eventlog.Entry) error {
	ev, err := entry.Event()
	if err != nil {
		return err
	}
	switch data := ev.Data.(type) {
	case *event.AccountDeleted:
		// That was an earlier registration under the same id.
		clear(o.folders)
		clear(o.submissions)
		o.bounced = nil
		o.created, o.deleted, o.paused = false, true, false
	case *event.AccountCreated:
		o.created = true
	case *event.AccountPaused:
		o.paused = true
	case *event.AccountResumed:
		o.paused = false
	case *event.AccountSyncStarted, *event.AccountSyncCompleted:
		o.replaySync(ev.Data)
	case *event.MessageBounced:
		o.bounced = append(o.bounced, data)
	case interface{ Told() (string, uint64) }:
		id, number := data.Told()
		o.submissions[id] = max(o.submissions[id], int(number))
	}
	if ev.Checkpoint == nil {
		return nil
	}
	if moved, ok := ev.Data.(*event.MessageMoved); ok {
		if err := o.replayLeft(entry, moved); err != nil {
			return err
		}
	}
	f := o.folders[ev.Checkpoint.Folder]
	if f == nil {
		f = &folderState{Folder: folder.Folder{Key: ev.Checkpoint.Folder}}
		o.folders[f.Key] = f
	}
	if entry.Number <= f.covered {
		return nil
	}
	return o.replayInto(f, ev)
}

// replayLeft takes a message that was moved out of the folder that it was in.
func (o *owner) replayLeft(entry *eventlog.Entry, moved *event.MessageMoved) error {
	from, err := moved.PreviousID()
	if err != nil {
		return fmt.Errorf("event %s: %w", entry.ID, err)
	}
	f := o.folders[from.Folder]
	if f != nil && f.started && entry.Number > f.covered && f.told.UIDValidity == from.UIDValidity {
		f.remove(from.UID)
	}
	return nil
}

// replayInto applies an event to a folder. A folder without a snapshot starts
// with the first of its events: its UIDs are then listed anew.
func (o *owner) replayInto(f *folderState, ev event.Event) error {
	created := false
	switch data := ev.Data.(type) {
	case *event.FolderDeleted:
		delete(o.folders, f.Key)
		o.gone[f.Key] = true
		return nil
	case *event.FolderRenamed:
		f.renamedTo = data.Path
	case *event.FolderCreated:
		created = true
		delete(o.gone, f.Key)
	}
	if f.left {
		return nil // until it is looked at again, which begins with a snapshot
	}
	if !f.started && !created {
		f.told.UIDValidity, f.told.UIDNext = ev.Checkpoint.UIDValidity, diff.After(ev.Checkpoint.UID)
		f.started, f.uidsUnknown = true, true
	}
	ref, ok := ev.Data.(interface {
		ID() (folder.MessageID, error)
	})
	var id folder.MessageID
	if ok {
		var err error
		if id, err = ref.ID(); err != nil {
			return fmt.Errorf("event %s: %w", ev.ID, err)
		}
	}
	f.apply(ev.Data, ev.Checkpoint, id.UID)
	return nil
}
