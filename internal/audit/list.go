package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// block is how many entries are read at once at most, and scanned how many a page looks
	// at.
	block   = 500
	scanned = 20 * block
	// lateness is how much later than its call an entry may have been stored for a
	// query with an end to find it. It is a moment, unless NATS was away.
	lateness = 10 * time.Minute
)

// List gives up to limit entries that a query chooses, the latest first, below a
// place in the log; 0 is its end. next is the place to go on from, 0 at the log's
// beginning. A page may hold fewer entries than there are, even none, where many were
// looked at that are not asked for.
func (l *Log) List(ctx context.Context, q Query, below uint64, limit int) (entries []*Entry, next uint64, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit log: %w", err)
	}
	lowest, end := info.State.FirstSeq, info.State.LastSeq+1
	if !q.Start.IsZero() {
		first, err := l.placeAt(ctx, q.Start, end)
		if err != nil {
			return nil, 0, err
		}
		lowest = max(lowest, first)
	}
	if !q.End.IsZero() {
		if end, err = l.placeAt(ctx, q.End.Add(lateness), end); err != nil {
			return nil, 0, err
		}
	}
	if below == 0 || below > end {
		below = end
	}
	// Where all are asked for, the first read is enough.
	size := uint64(min(limit, block))
	for looked := uint64(0); below > lowest && looked < scanned; looked += size {
		size = min(2*size, block)
		from := max(lowest, below-min(below, size))
		read, err := l.read(ctx, from, below)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range slices.Backward(read) {
			if !q.chooses(e) {
				continue
			}
			entries = append(entries, e)
			if len(entries) == limit {
				return entries, l.above(e.Sequence, lowest), nil
			}
		}
		below = from
	}
	return entries, l.above(below, lowest), nil
}

// above is a place to go on from, or 0 where there is nothing below it.
func (*Log) above(place, lowest uint64) uint64 {
	if place <= lowest {
		return 0
	}
	return place
}

// placeAt is the place of the first entry that was stored at a time or later; end
// where there is none.
func (l *Log) placeAt(ctx context.Context, at time.Time, end uint64) (uint64, error) {
	messages, err := jetstreamext.GetBatch(ctx, l.js, StreamName, 1, jetstreamext.GetBatchStartTime(at))
	if err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return end, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read the audit log: %w", err)
		}
		return msg.Sequence, nil
	}
	return end, nil
}

// read gives the entries from one place up to another.
func (l *Log) read(ctx context.Context, from, to uint64) ([]*Entry, error) {
	messages, err := jetstreamext.GetBatch(ctx, l.js, StreamName, int(to-from), jetstreamext.GetBatchSeq(max(from, 1)))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	var read []*Entry
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		if msg.Sequence >= to {
			break
		}
		e := &Entry{}
		if json.Unmarshal(msg.Data, e) != nil {
			continue // what a later version wrote may not be for us
		}
		e.Sequence = msg.Sequence
		read = append(read, e)
	}
	return read, nil
}
