package eventlog

import (
	"context"
	"fmt"
)

// MaxPage is the most entries that [Log.List] gives at once.
const MaxPage = 1000

// List gives up to limit entries (at most [MaxPage]) that the filter chooses,
// after a cursor, and the cursor to go on from, which stands behind everything
// that was looked at. Fewer entries than limit are the end of the log, unless
// next stands before [Log.Head]: that happens when a filter of very many
// accounts and types makes it read more than it gives.
//
// It fails with [*CursorExpiredError] when the log no longer has what comes
// after the cursor. The zero Cursor begins with what there is.
func (l *Log) List(ctx context.Context, f Filter, after Cursor, limit int) (entries []*Entry, next Cursor, err error) {
	b, err := l.bounds(ctx)
	if err != nil {
		return nil, after, err
	}
	position, err := b.resume(after)
	if err != nil {
		return nil, after, err
	}
	p, err := l.page(ctx, f, position, b.last, max(1, min(limit, MaxPage)))
	if err != nil {
		return nil, after, err
	}
	return p.entries, l.at(p.position), nil
}

// replayPage bounds what a replay holds in memory.
const replayPage = 500

// Replay gives an account's events after a head that the caller remembers, in
// order, up to those that were there when it began, and returns the head that
// this leads to. An owner that takes an account replays what lies behind its
// snapshot before it looks at the server: so it knows what was announced by
// whoever had the account before.
//
// Replay ends with fn's error. It fails with [*GapError] when events after the
// head that the caller remembers have grown too old to be kept; with the zero
// Head it begins with what there is.
func (l *Log) Replay(ctx context.Context, account string, after Head, fn func(*Entry) error) (Head, error) {
	last, err := l.Last(ctx, account)
	if err != nil {
		return after, fmt.Errorf("read the head of account %s: %w", account, err)
	}
	if last == nil || last.Number <= after.Number {
		return after, nil
	}
	f, from := Filter{Accounts: []string{account}}, after.Sequence
	if from >= last.Sequence() {
		// Later events at lower sequences: the stream was made anew, and all
		// that it has came after what the caller remembers.
		from = 0
	}
	for from < last.Sequence() {
		p, err := l.page(ctx, f, from, last.Sequence(), replayPage)
		if err != nil {
			return after, fmt.Errorf("replay account %s: %w", account, err)
		}
		for _, e := range p.entries {
			if after != (Head{}) && e.Number != after.Number+1 {
				return after, &GapError{Account: account, After: after.Number, Next: e.Number}
			}
			if err := fn(e); err != nil {
				return after, err
			}
			after = Head{Sequence: e.Sequence(), Number: e.Number}
		}
		from = p.position
	}
	return after, nil
}
