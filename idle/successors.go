package idle

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/moves"
)

// rememberMoved tells readers of old names what became of the messages that
// were announced as moved, by whoever moved them. The log is right without it.
func (o *owner) rememberMoved(ctx context.Context, events []event.Event) {
	if o.config.Successors == nil {
		return
	}
	type route struct{ from, to moves.Place }
	moved := make(map[route]*imap.CopyData)
	for i := range events {
		data, ok := events[i].Data.(*event.MessageMoved)
		if !ok {
			continue
		}
		now, err := data.ID()
		before, errBefore := data.PreviousID()
		if err != nil || errBefore != nil {
			continue
		}
		r := route{moves.PlaceOf(before), moves.PlaceOf(now)}
		if moved[r] == nil {
			moved[r] = &imap.CopyData{UIDValidity: now.UIDValidity}
		}
		// Not AddNum, which sorts: the n-th of one is the n-th of the other.
		moved[r].SourceUIDs = append(moved[r].SourceUIDs, imap.UIDRange{Start: before.UID, Stop: before.UID})
		moved[r].DestUIDs = append(moved[r].DestUIDs, imap.UIDRange{Start: now.UID, Stop: now.UID})
	}
	for r, copied := range moved {
		if err := o.config.Successors.Record(ctx, o.id(), r.from, r.to, copied); err != nil {
			o.log.WarnContext(ctx, "moves cannot be remembered", "error", err)
		}
	}
}
