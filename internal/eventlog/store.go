package eventlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/postern-mail/postern/internal/event"
)

// outcome is what is known of a chunk after an attempt to store it.
type outcome int

const (
	outcomeStored  outcome = iota
	outcomeDoubt           // it may be stored, or not, or not yet
	outcomeRefused         // it is not stored and will not be
)

// store puts a chunk into the stream, however many attempts that takes. The
// expectation of all attempts is the head that the writer last knew to be the
// account's: it moves only by what was found stored, never by what was merely
// found, because a stored event that is sent again with a fresh expectation is
// stored twice.
func (w *Writer) store(ctx context.Context, chunk []record) error {
	wait := backoff{min: 20 * time.Millisecond, max: time.Second}
	for {
		last, result, err := w.attempt(ctx, chunk)
		switch result {
		case outcomeStored:
			w.head = Head{Sequence: last, Number: chunk[len(chunk)-1].number}
			return nil
		case outcomeRefused:
			return err
		}
		stored, compareErr := w.compare(ctx, chunk)
		if compareErr != nil {
			return errors.Join(compareErr, err)
		}
		if chunk = chunk[stored:]; len(chunk) == 0 {
			return nil
		}
		if stored == 0 && isDuplicate(err) {
			// The head is where it was, so the server's copy of this id is an
			// older event.
			return err
		}
		if waitErr := wait.next(ctx); waitErr != nil {
			return fmt.Errorf("%w; the last attempt: %w", waitErr, err)
		}
	}
}

// compare reads the account's head and tells how many of the chunk's events
// are in the log, moving the writer's head past them.
func (w *Writer) compare(ctx context.Context, chunk []record) (stored int, err error) {
	head, err := w.lastWithRetries(ctx)
	if err != nil {
		return 0, err
	}
	switch {
	case head == nil:
		// Nothing of the account is left, so nobody has appended since its
		// last event grew old: the expectation is 0 from here on.
		w.head.Sequence = 0
		return 0, nil
	case head.Sequence() == w.head.Sequence:
		return 0, nil
	case head.writer == w.id && head.Number >= chunk[0].number && head.Number <= chunk[len(chunk)-1].number:
		w.head = Head{Sequence: head.Sequence(), Number: head.Number}
		return int(head.Number-chunk[0].number) + 1, nil
	}
	return 0, &FencedError{
		Account:  w.account,
		Expected: w.head,
		Actual:   Head{Sequence: head.Sequence(), Number: head.Number},
	}
}

// lastWithRetries asks for the account's head until it gets an answer or ctx
// ends: while the outcome of an attempt is open there is nothing else to do.
func (w *Writer) lastWithRetries(ctx context.Context) (*Entry, error) {
	wait := backoff{min: 20 * time.Millisecond, max: time.Second}
	for {
		attemptCtx, cancel := context.WithTimeout(ctx, w.log.config.AckTimeout)
		head, err := w.log.Last(attemptCtx, w.account)
		cancel()
		if err == nil {
			return head, nil
		}
		if foreign := (*ForeignEntryError)(nil); errors.As(err, &foreign) {
			return nil, err
		}
		if waitErr := wait.next(ctx); waitErr != nil {
			return nil, fmt.Errorf("find out what became of an append: %w: %w", waitErr, err)
		}
	}
}

// attempt sends a chunk once and waits for the answer.
func (w *Writer) attempt(ctx context.Context, chunk []record) (last uint64, result outcome, err error) {
	messages := make([]*nats.Msg, len(chunk))
	for i, r := range chunk {
		messages[i] = &nats.Msg{Subject: r.subject, Header: maps.Clone(r.header), Data: r.body}
	}
	// Only the first message of a batch may state an expectation; the others
	// follow from it.
	messages[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.head.Sequence, 10))
	messages[0].Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, event.SubjectOfAccount(w.account))

	ctx, cancel := context.WithTimeout(ctx, w.log.config.AckTimeout)
	defer cancel()
	if len(chunk) == 1 {
		return w.attemptOne(ctx, messages[0])
	}
	select {
	case w.log.batches <- struct{}{}:
		defer func() { <-w.log.batches }()
	case <-ctx.Done():
		return 0, outcomeDoubt, ctx.Err()
	}
	// The acknowledgement of a batch's first message is not waited for: the
	// last one's covers all, and the wait would not end with ctx.
	ack, err := jetstreamext.PublishMsgBatch(ctx, w.log.js, messages, jetstreamext.BatchFlowControl{AckFirst: false})
	if err != nil {
		result, err = w.judge(err)
		return 0, result, err
	}
	return ack.Sequence, outcomeStored, nil
}

func (w *Writer) attemptOne(ctx context.Context, msg *nats.Msg) (last uint64, result outcome, err error) {
	ack, err := w.log.js.PublishMsg(ctx, msg)
	if err != nil {
		result, err = w.judge(err)
		return 0, result, err
	}
	if ack.Duplicate {
		// Ours, from an earlier attempt, or another event of the same id: the
		// comparison tells.
		return 0, outcomeDoubt, &DuplicateError{ID: msg.Header.Get(jetstream.MsgIDHeader), Sequence: ack.Sequence}
	}
	return ack.Sequence, outcomeStored, nil
}

// Error codes of the server that leave open what became of an append, because
// an earlier attempt may be what they object to.
const (
	codeWrongLastSequence         jetstream.ErrorCode = 10071
	codeDuplicateInProcess        jetstream.ErrorCode = 10158
	codeExpectationNotReady       jetstream.ErrorCode = 10163
	codeWrongLastSequenceConstant jetstream.ErrorCode = 10164
	codeBatchIncomplete           jetstream.ErrorCode = 10176
	codeBatchDuplicate            jetstream.ErrorCode = 10201
)

// judge tells what an error means for the chunk.
func (w *Writer) judge(err error) (outcome, error) {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		// No answer, or none that can be read.
		return outcomeDoubt, err
	}
	switch api.ErrorCode {
	case codeBatchDuplicate:
		return outcomeDoubt, &DuplicateError{cause: err}
	case codeWrongLastSequence, codeWrongLastSequenceConstant, codeExpectationNotReady,
		codeDuplicateInProcess, codeBatchIncomplete:
		return outcomeDoubt, err
	}
	// 4xx is about the message, except 429 (too many batches in flight);
	// 5xx is about the server's state, which passes.
	if api.Code >= 400 && api.Code < 500 && api.Code != 429 {
		return outcomeRefused, err
	}
	return outcomeDoubt, err
}

func isDuplicate(err error) bool {
	var duplicate *DuplicateError
	return errors.As(err, &duplicate)
}

// isNotFound reports whether the stream has no such message.
func isNotFound(err error) bool { return errors.Is(err, jetstream.ErrMsgNotFound) }
