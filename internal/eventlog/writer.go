package eventlog

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/postern-mail/postern/internal/event"
)

// Head is the end of an account's part of the log.
type Head struct {
	// Sequence is that of the account's last event in the stream; 0 when
	// there is none, or none any more.
	Sequence uint64
	// Number is that event's number. It goes on counting when retention has
	// removed the events.
	Number uint64
}

// Writer appends an account's events. An account is meant to have one writer;
// when it has two, each append of either states the head that it builds upon,
// and of two that build upon the same one exactly one succeeds.
//
// After an error from [Writer.Append] the writer is of no further use: what
// was stored is in the log, and the owner has to take the account anew, which
// is what it would do after a crash as well.
type Writer struct {
	log     *Log
	account string
	// id tells this writer's events from others'. An id of the event alone
	// would not do: two owners that find the same fact give it the same id.
	id string

	mu     sync.Mutex // held for the length of an append: one at a time
	head   Head
	broken error
}

// Writer reads the account's head and returns a writer that builds upon it.
// known is the number that the account's events had reached as far as the
// caller remembers; it counts only when retention has removed them all.
func (l *Log) Writer(ctx context.Context, account string, known uint64) (*Writer, error) {
	if !event.ValidToken(account) {
		return nil, fmt.Errorf("%q cannot be the id of an account", account)
	}
	head, err := l.Last(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("read the head of account %s: %w", account, err)
	}
	w := &Writer{log: l, account: account, id: rand.Text(), head: Head{Number: known}}
	if head != nil {
		w.head = Head{Sequence: head.Sequence(), Number: head.Number}
	}
	return w, nil
}

// Last gives an account's last event, nil when there is none. It asks the
// stream's leader, so what was acknowledged is seen.
func (l *Log) Last(ctx context.Context, account string) (*Entry, error) {
	msg, err := l.stream.GetLastMsgForSubject(ctx, event.SubjectOfAccount(account))
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l.entry(msg.Subject, msg.Sequence, msg.Header, msg.Data, msg.Time)
}

// Head is where the account's events end as far as the writer knows: after
// them when it was made, after its own last append since.
func (w *Writer) Head() Head {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Append stores events of the writer's account, in order and without gaps, and
// returns the sequence of the last one. Each gets its number here. Many events
// go in atomic batches, few go one by one; so after a crash or an error the log
// may have the first of them.
//
// When an attempt's outcome is in doubt, Append finds it out and goes on, for
// as long as ctx lives. It fails with
//   - [*FencedError] when somebody else has appended to the account,
//   - [*DuplicateError] when one of the events is in the log already,
//   - [*TooLargeError] when an event does not fit into a message,
//   - [*BrokenError] after an earlier failure,
//   - the server's or the context's error, wrapped.
func (w *Writer) Append(ctx context.Context, events ...event.Event) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.head.Sequence, &BrokenError{Account: w.account, Cause: w.broken}
	}
	records, err := w.records(events)
	if err != nil {
		return w.head.Sequence, err
	}
	for len(records) > 0 {
		var chunk []record
		chunk, records = nextChunk(records)
		if err := w.store(ctx, chunk); err != nil {
			w.broken = err
			return w.head.Sequence, fmt.Errorf("append to account %s: %w", w.account, err)
		}
	}
	return w.head.Sequence, nil
}

// record is an event as it goes into the stream.
type record struct {
	number  uint64
	id      string
	subject string
	header  nats.Header
	body    []byte
}

// size bounds what the record takes in a message. The server counts headers,
// and those that an attempt adds, towards the largest payload.
func (r record) size() int {
	const attemptHeaders = 512
	return len(r.body) + attemptHeaders
}

func (w *Writer) records(events []event.Event) ([]record, error) {
	limit := int(w.log.js.Conn().MaxPayload())
	records := make([]record, len(events))
	for i, e := range events {
		if e.Account != w.account {
			return nil, fmt.Errorf("append %s: it is of account %q, not %q", e.ID, e.Account, w.account)
		}
		e.Number = w.head.Number + uint64(i) + 1
		body, err := e.Encode()
		if err != nil {
			return nil, err
		}
		r := record{
			number:  e.Number,
			id:      e.ID,
			subject: event.Subject(e.Account, e.Type),
			body:    body,
			header: nats.Header{
				jetstream.MsgIDHeader: {e.ID},
				event.HeaderNumber:    {strconv.FormatUint(e.Number, 10)},
				headerWriter:          {w.id},
			},
		}
		if e.Checkpoint != nil {
			r.header.Set(event.HeaderCheckpoint, e.Checkpoint.String())
		}
		if limit > 0 && r.size() > limit {
			return nil, &TooLargeError{ID: e.ID, Type: e.Type, Size: len(body), Limit: limit}
		}
		records[i] = r
	}
	return records, nil
}

const (
	// minBatch is where a batch begins to pay: staging one costs the server as
	// much as about a dozen single messages.
	minBatch = 12
	// maxBatch is below the 1,000 that the server takes in one batch: it holds
	// the stream's lock while it commits, and other accounts wait.
	maxBatch = 500
	// maxBatchBytes bounds what a batch makes the server hold at once.
	maxBatchBytes = 4 << 20
)

// nextChunk splits off what goes into the next message or batch.
func nextChunk(records []record) (chunk, rest []record) {
	if len(records) < minBatch {
		return records[:1], records[1:]
	}
	bytes := 0
	for i, r := range records {
		bytes += r.size()
		if i > 0 && (i == maxBatch || bytes > maxBatchBytes) {
			return records[:i], records[i:]
		}
	}
	return records, nil
}
