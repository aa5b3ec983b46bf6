package idle

import (
	"context"
	"time"

	"github.com/postern-mail/postern/internal/event"
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

// tell appends facts about the account to the log.
func (o *owner) tell(ctx context.Context, facts ...event.Data) error {
	return o.append(ctx, o.eventsOf(nil, facts))
}

// tellOf appends facts about one folder, whose state they leave where it is.
func (o *owner) tellOf(ctx context.Context, f *folderState, facts ...event.Data) error {
	return o.append(ctx, o.eventsOf(f.checkpoint(), facts))
}

func (o *owner) eventsOf(checkpoint *event.Checkpoint, facts []event.Data) []event.Event {
	now, after := time.Now(), o.writer.Head().Number
	events := make([]event.Event, len(facts))
	for i, data := range facts {
		events[i] = event.New(o.id(), after+uint64(i), now, data)
		events[i].Checkpoint = checkpoint
	}
	return events
}

// append puts events into the log. When that fails, what the owner knows is
// ahead of the log, or behind it: the account has to be taken anew, and until
// then nothing of it may be saved.
func (o *owner) append(ctx context.Context, events []event.Event) error {
	if _, err := o.writer.Append(ctx, events...); err != nil {
		o.writer = nil
		return logFailed(err)
	}
	o.rememberMoved(ctx, events)
	o.status.Counters.Events += int64(len(events))
	o.status.LastEventTime = events[len(events)-1].Time
	o.statusDirty = true
	return nil
}

// save stores the snapshots of the folders that have moved since their last,
// and then up to where in the log all of them are good.
func (o *owner) save(ctx context.Context) error {
	if o.writer == nil || o.first.Folders == nil {
		return nil
	}
	head, all := o.writer.Head(), true
	for _, f := range o.folders {
		if f.resetting {
			all = false // it has to find its reset in the log again
			continue
		}
		if !f.dirty || !f.started && !f.left {
			continue
		}
		s := f.snapshot(head.Sequence, head.Number)
		if err := o.config.Checkpoints.Save(ctx, o.id(), f.Key, s); err != nil {
			return logFailed(err)
		}
		f.dirty, f.revision, f.parts = false, s.Revision, s.Parts
	}
	if !all || o.saved == folder.Position(head) {
		return nil
	}
	if err := o.config.Checkpoints.SavePosition(ctx, o.id(), folder.Position(head)); err != nil {
		return logFailed(err)
	}
	o.saved = folder.Position(head)
	return nil
}

// unsaved reports whether there is something to save.
func (o *owner) unsaved() bool { return o.statusDirty || o.saved != folder.Position(o.writer.Head()) }
