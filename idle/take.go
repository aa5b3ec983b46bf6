package idle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/folder"
)

// logError marks failures of the event log and of what is stored beside it.
// After one the owner no longer knows what the log has been told, and takes the
// account anew.
type logError struct{ err error }

func (e *logError) Error() string { return e.err.Error() }
func (e *logError) Unwrap() error { return e.err }

func logFailed(err error) error {
	if err == nil {
		return nil
	}
	return &logError{err}
}

// take finds out what the log has been told of the account, and fences off
// whoever wrote before: a former owner that was only paused states a head that
// is no longer the account's, and is refused.
func (o *owner) take(ctx context.Context) error {
	o.folders = make(map[folder.Key]*folderState)
	o.lost, o.paused = "", false
	if err := o.loadFirst(ctx); err != nil {
		return err
	}
	snapshots, err := o.config.Checkpoints.Load(ctx, o.id())
	if err != nil {
		return err
	}
	var known uint64
	oldest := eventlog.Head{}
	for key, snapshot := range snapshots {
		f := &folderState{Folder: folder.Folder{Key: key}}
		f.restore(snapshot)
		o.folders[key] = f
		known = max(known, snapshot.Number)
		if oldest.Number == 0 || snapshot.Number < oldest.Number {
			oldest = eventlog.Head{Sequence: snapshot.Sequence, Number: snapshot.Number}
		}
	}
	if o.writer, err = o.config.Log.Writer(ctx, o.id(), known); err != nil {
		return err
	}
	o.created = o.first != nil
	if err := o.rollForward(ctx, oldest); err != nil {
		return err
	}
	if err := o.nameFolders(ctx); err != nil {
		return err
	}
	// What is appended here builds upon all that was replayed: had somebody
	// else appended in between, it would be refused.
	ref := event.AccountAt(o.id())
	var facts []event.Data
	if !o.created {
		facts = append(facts, &event.AccountCreated{AccountRef: ref, Email: o.account.Email})
	}
	facts = append(facts, &event.AccountOwnerChanged{AccountRef: ref, Node: o.config.Node})
	if o.paused && !o.account.Paused {
		facts = append(facts, &event.AccountResumed{AccountRef: ref})
	}
	if o.lost != "" {
		facts = append(facts, &event.AccountGap{AccountRef: ref, Reason: o.lost})
	}
	return o.tell(ctx, facts...)
}

// loadFirst reads which folders the account had at first. What is left of an
// earlier registration under the same id is forgotten: it was another mailbox.
func (o *owner) loadFirst(ctx context.Context) error {
	first, err := o.config.Checkpoints.LoadFirst(ctx, o.id())
	if err != nil {
		return err
	}
	if first != nil && first.Incarnation != o.incarnation() {
		if err := o.config.Checkpoints.Forget(ctx, o.id()); err != nil {
			return err
		}
		first = nil
	}
	o.first = first
	return nil
}

func (o *owner) incarnation() string { return o.account.CreateTime.UTC().Format(time.RFC3339Nano) }

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
	return err
}

// nameFolders gives the folders the names that the server had for them, by which
// those that were renamed meanwhile are recognised.
func (o *owner) nameFolders(ctx context.Context) error {
	o.names = make(map[string]*folderState, len(o.folders))
	for key, f := range o.folders {
		named, err := o.config.Folders.ByKey(ctx, o.id(), key)
		if errors.Is(err, folder.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		f.Folder = named
		o.names[f.Name] = f
	}
	return nil
}

func (o *owner) replay(entry *eventlog.Entry) error {
	ev, err := entry.Event()
	if err != nil {
		return err
	}
	switch ev.Data.(type) {
	case *event.AccountDeleted:
		// That was an earlier registration under the same id.
		clear(o.folders)
		o.created = false
	case *event.AccountCreated:
		o.created = true
	case *event.AccountPaused:
		o.paused = true
	case *event.AccountResumed:
		o.paused = false
	}
	if ev.Checkpoint == nil {
		return nil
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

// replayInto applies an event to a folder. A folder without a snapshot starts
// with the first of its events: its UIDs are then listed anew.
func (o *owner) replayInto(f *folderState, ev event.Event) error {
	if _, gone := ev.Data.(*event.FolderDeleted); gone {
		delete(o.folders, f.Key)
		return nil
	}
	if _, created := ev.Data.(*event.FolderCreated); !f.started && !created {
		f.told.UIDValidity, f.told.UIDNext = ev.Checkpoint.UIDValidity, ev.Checkpoint.UID+1
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

// tell appends facts about the account to the log.
func (o *owner) tell(ctx context.Context, facts ...event.Data) error {
	now, after := time.Now(), o.writer.Head().Number
	events := make([]event.Event, len(facts))
	for i, data := range facts {
		events[i] = event.New(o.id(), after+uint64(i), now, data)
	}
	return o.append(ctx, events)
}

// tellOf appends facts about one folder, whose state they leave where it is.
func (o *owner) tellOf(ctx context.Context, f *folderState, facts ...event.Data) error {
	now, after := time.Now(), o.writer.Head().Number
	events := make([]event.Event, len(facts))
	for i, data := range facts {
		events[i] = event.New(o.id(), after+uint64(i), now, data)
		events[i].Checkpoint = f.checkpoint()
	}
	return o.append(ctx, events)
}

func (o *owner) append(ctx context.Context, events []event.Event) error {
	if _, err := o.writer.Append(ctx, events...); err != nil {
		return logFailed(err)
	}
	o.status.Counters.Events += int64(len(events))
	o.status.LastEventTime = events[len(events)-1].Time
	o.statusDirty = true
	return nil
}

// save stores the snapshots of the folders that have moved since their last.
func (o *owner) save(ctx context.Context) error {
	if o.writer == nil {
		return nil
	}
	head := o.writer.Head()
	for _, f := range o.folders {
		if !f.dirty || !f.started || f.resetting {
			continue
		}
		if err := o.config.Checkpoints.Save(ctx, o.id(), f.Key, f.snapshot(head.Sequence, head.Number)); err != nil {
			return logFailed(err)
		}
		f.dirty = false
	}
	return nil
}
