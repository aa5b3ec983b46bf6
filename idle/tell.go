package idle

import (
	"context"
	"time"

	"github.com/postern-mail/postern/idle/diff"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// atOnce bounds the events of one append: a backlog goes in batches, which cost
// a tenth of as many single appends.
const atOnce = 100

// tellChanges names what a look found, tells it, and moves the folder past it.
// It returns how much there was to tell.
func (o *owner) tellChanges(ctx context.Context, l *look, origin event.Origin) (told int, err error) {
	f := l.folder
	if origin == event.OriginNew {
		if err := o.recogniseMoves(ctx, l); err != nil {
			return 0, err
		}
	}
	if err := o.readReturned(ctx, l); err != nil {
		return 0, err
	}
	if told, err = o.tellAll(ctx, l, origin); err != nil {
		return told, err
	}
	if l.found.HighestModSeq > f.told.HighestModSeq {
		f.dirty = true
	}
	f.told.Settle(&l.found)
	if l.found.HighestModSeq > 0 {
		f.unsettled = 0
	}
	return told, nil
}

// deletedAtOnce bounds the deletions that are held in memory together.
const deletedAtOnce = 10_000

// tellAll tells what a look found. When that is very much, it says so first.
func (o *owner) tellAll(ctx context.Context, l *look, origin event.Origin) (told int, err error) {
	f := l.folder
	held := l.found.Held
	gone := diff.Subtract(diff.Gone(&f.told, &l.found), held)
	// Flags that were seen may be as they were; most of those that the server was
	// asked for are not.
	waiting := max(l.waiting, uint64(len(l.arrivals))) + diff.Count(gone) + uint64(len(l.found.Messages)-len(l.arrivals))
	if err := o.overflow(ctx, f, waiting); err != nil {
		return 0, err
	}
	for {
		rest := diff.Subtract(gone, first(gone, deletedAtOnce))
		l.found.Held = diff.Union(held, rest)
		changes := diff.Compare(&f.told, &l.found)
		told += len(changes)
		if err := o.tellEach(ctx, l, changes, origin); err != nil {
			return told, err
		}
		if gone = rest; len(gone) == 0 {
			break
		}
	}
	if f.overflowing && !l.more {
		f.overflowing, f.dirty = false, true
	}
	return told, nil
}

// DefaultOverflowAfter is how many changes of a folder at once are told without
// saying first that there are very many.
const DefaultOverflowAfter = 10_000

// overflow announces that there are more changes to tell of than a consumer may
// want to follow one by one, once until they are told.
func (o *owner) overflow(ctx context.Context, f *folderState, changes uint64) error {
	if f.overflowing || changes <= uint64(o.config.OverflowAfter) {
		return nil
	}
	f.overflowing, f.dirty = true, true
	return o.tellOf(ctx, f, &event.FolderOverflow{
		FolderRef: event.FolderAt(o.id(), f.Key, f.Path()), Changes: changes,
		Reason: "So many messages came, changed or went that it may be quicker to read the folder anew. The events of all of them follow.",
	})
}

// tellEach tells changes of a folder, and moves the folder past them.
func (o *owner) tellEach(ctx context.Context, l *look, changes []diff.Change, origin event.Origin) error {
	f, now := l.folder, time.Now()
	for len(changes) > 0 {
		chunk := changes[:min(len(changes), atOnce)]
		changes = changes[len(chunk):]
		events := make([]event.Event, 0, len(chunk))
		after := o.writer.Head().Number
		add := func(data event.Data) {
			ev := event.New(o.id(), after+uint64(len(events)), now, data)
			ev.Checkpoint = f.checkpoint()
			events = append(events, ev)
		}
		var bounced []*event.MessageBounced
		// The folder moves along with the events that are made, since each of
		// them carries its position. Should the append fail, the owner takes
		// the account anew and knows nothing of this.
		for _, change := range chunk {
			f.told.Apply(change)
			data := o.dataOf(l, change, origin)
			add(data)
			if returned, ok := l.returnedWith(change.UID, data); ok {
				add(returned)
				if b, ok := returned.(*event.MessageBounced); ok {
					bounced = append(bounced, b)
				}
			}
		}
		f.dirty = true
		if err := o.append(ctx, events); err != nil {
			return err
		}
		if err := o.markBounced(ctx, bounced); err != nil {
			return err
		}
	}
	return nil
}

// dataOf is what is told of a change.
func (o *owner) dataOf(l *look, change diff.Change, origin event.Origin) event.Data {
	id := l.folder.messageID(change.UID)
	switch change.Kind {
	case diff.Created:
		m, envelope := l.arrivals[change.UID], l.envelopes[change.UID]
		l.folder.unsettled++
		emailID := o.account.EmailID(m, envelope)
		l.folder.identities.set(change.UID, emailID)
		ref := event.MessageAt(o.id(), id, emailID, "")
		if from, moved := l.moved[change.UID]; moved {
			o.folders[from.Folder].remove(from.UID)
			return movedData(ref, from, o.id(), m)
		}
		if change.Late || change.UID < l.folder.reused {
			origin = event.OriginReappeared
		}
		return createdData(ref, m, envelope, origin)
	case diff.Updated:
		return &event.MessageUpdated{
			MessageRef: event.MessageAt(o.id(), id, l.folder.identities.get(change.UID), ""),
			Flags:      flagsData(change),
			ModSeq:     change.ModSeq,
		}
	case diff.Missing:
		return &event.MessageMissing{
			MessageRef: event.MessageAt(o.id(), id, "", ""),
			Detail:     "The server lists this message and does not give it.",
		}
	default:
		emailID := l.folder.identities.get(change.UID)
		l.folder.identities.forget(change.UID)
		return &event.MessageDeleted{MessageRef: event.MessageAt(o.id(), id, emailID, "")}
	}
}

func createdData(ref event.MessageRef, m *imapconn.FetchMessage, envelope *message.Envelope, origin event.Origin) *event.MessageCreated {
	data := &event.MessageCreated{
		MessageRef: ref,
		Origin:     origin,
		Flags:      texts(diff.MakeFlags(m.Flags)),
		Size:       m.Size,
	}
	if !m.InternalDate.IsZero() {
		at := m.InternalDate.UTC()
		data.InternalDate = &at
	}
	if envelope != nil {
		data.Envelope = envelopeData(envelope)
	}
	if m.Preview != nil {
		data.Snippet = message.Snippet(*m.Preview)
	}
	return data
}

func envelopeData(decoded *message.Envelope) *event.Envelope {
	data := &event.Envelope{
		From:      author(decoded.From),
		To:        addresses(decoded.To),
		Cc:        addresses(decoded.Cc),
		Subject:   decoded.Subject,
		MessageID: decoded.MessageID,
	}
	if !decoded.Date.IsZero() {
		date := decoded.Date.UTC()
		data.Date = &date
	}
	return data
}

// author is the first address of a From field, or nil.
func author(list []message.Address) *event.Address {
	if len(list) == 0 {
		return nil
	}
	return &addresses(list)[0]
}

func addresses(list []message.Address) []event.Address {
	out := make([]event.Address, 0, len(list))
	for _, a := range list {
		out = append(out, event.Address{Name: a.Name, Address: a.Address})
	}
	return out
}

func flagsData(change diff.Change) event.Flags {
	data := event.Flags{After: texts(change.After)}
	if !change.HasBefore {
		return data
	}
	data.Before = texts(change.Before)
	data.Added, data.Removed = without(data.After, data.Before), without(data.Before, data.After)
	return data
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	rest := []string{}
	for _, s := range a {
		if !in[s] {
			rest = append(rest, s)
		}
	}
	return rest
}

func texts(flags diff.Flags) []string {
	list := flags.List()
	out := make([]string, len(list))
	for i, flag := range list {
		out[i] = string(flag)
	}
	return out
}
