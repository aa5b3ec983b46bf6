package eventlog

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
)

// Entry is an event in the log.
type Entry struct {
	// Cursor is the position after the entry.
	Cursor  Cursor
	ID      string
	Account string
	Type    event.Type
	// Number counts the account's events without gaps.
	Number uint64
	// Checkpoint is nil for events that move no folder forward.
	Checkpoint *event.Checkpoint
	// Stored is when the log took the event.
	Stored time.Time
	// Body is the event as CloudEvents JSON: the very bytes that webhooks
	// send. It is shared between readers and must not be changed.
	Body []byte

	// writer is who appended the event; see [Writer].
	writer string
}

// Sequence is the entry's sequence in the stream.
func (e *Entry) Sequence() uint64 { return e.Cursor.sequence }

// Event decodes the body.
func (e *Entry) Event() (event.Event, error) {
	ev, err := event.Decode(e.Body)
	if err != nil {
		return event.Event{}, fmt.Errorf("entry %d of the event log: %w", e.Sequence(), err)
	}
	ev.Checkpoint = e.Checkpoint
	return ev, nil
}

// ForeignEntryError reports a message in the stream that no [Writer] wrote.
type ForeignEntryError struct {
	Sequence uint64
	Subject  string
	Reason   string
}

// Error implements error.
func (e *ForeignEntryError) Error() string {
	return fmt.Sprintf("message %d of the event log (%s) is not an event: %s", e.Sequence, e.Subject, e.Reason)
}

// headerWriter names the [Writer] that appended an event, so that a writer
// whose acknowledgement was lost can tell its own event from the same fact
// appended by another.
const headerWriter = "Postern-Writer"

// entry reads a message of the stream.
func (l *Log) entry(subject string, sequence uint64, header nats.Header, body []byte, stored time.Time) (*Entry, error) {
	foreign := func(reason string) (*Entry, error) {
		return nil, &ForeignEntryError{Sequence: sequence, Subject: subject, Reason: reason}
	}
	account, typ, err := event.ParseSubject(subject)
	if err != nil {
		return foreign(err.Error())
	}
	e := &Entry{
		Cursor:  l.at(sequence),
		ID:      header.Get(jetstream.MsgIDHeader),
		Account: account,
		Type:    typ,
		Stored:  stored,
		Body:    body,
		writer:  header.Get(headerWriter),
	}
	if e.Number, err = strconv.ParseUint(header.Get(event.HeaderNumber), 10, 64); err != nil || e.Number == 0 {
		return foreign("it has no number")
	}
	if e.ID == "" {
		return foreign("it has no id")
	}
	if text := header.Get(event.HeaderCheckpoint); text != "" {
		checkpoint, err := event.ParseCheckpoint(text)
		if err != nil {
			return foreign(err.Error())
		}
		e.Checkpoint = &checkpoint
	}
	return e, nil
}
