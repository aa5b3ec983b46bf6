package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// prefetchLimit is how many messages a page's reader has under way.
	prefetchLimit = 256
	// scanBudget is how many messages a page looks at, where a filter has to
	// be applied here and not by the server.
	scanBudget = 10_000
)

// page is a stretch of the log.
type page struct {
	entries []*Entry
	// position is how far the log was looked at: every event up to it that
	// the filter chooses is in this page or an earlier one.
	position uint64
}

// page reads what the filter chooses after a sequence, up to another one and
// to a number of entries.
//
// The server's consumers may read from a replica that lags behind the leader,
// so that a consumer has nothing more to give is no proof that there is
// nothing more: position moves past events that the filter leaves out only
// when the leader says that it can. With little to find, as for most
// accounts most of the time, the leader's answer is all that is needed.
func (l *Log) page(ctx context.Context, f Filter, after, upTo uint64, limit int) (page, error) {
	p := page{position: after}
	subjects := f.subjects()
	for budget := scanBudget; p.position < upTo; {
		next, err := l.nextMatch(ctx, subjects, p.position+1)
		if err != nil {
			return p, fmt.Errorf("read the event log after %d: %w", p.position, err)
		}
		if next == 0 || next > upTo {
			p.position = upTo
			return p, nil
		}
		looked, err := l.fill(ctx, &p, f, subjects, next, upTo, limit, budget)
		if err != nil {
			return p, err
		}
		if budget -= looked; len(p.entries) == limit || budget <= 0 {
			return p, nil
		}
	}
	return p, nil
}

// fill adds to a page what one reader gives, and returns how many messages
// were looked at. It ends when the page is full, when upTo is reached, and
// when the reader has nothing more, which the caller has to verify.
func (l *Log) fill(
	ctx context.Context, p *page, f Filter, subjects []string, from, upTo uint64, limit, budget int,
) (looked int, err error) {
	r, err := l.openReader(ctx, subjects, from, min(limit, prefetchLimit))
	if err != nil {
		return 0, err
	}
	defer r.close()
	for looked < budget {
		entry, meta, err := r.next(ctx)
		if errors.Is(err, errQuiet) || errors.Is(err, errLost) {
			return looked, nil
		}
		if err != nil {
			return looked, err
		}
		looked++
		if meta.Sequence.Stream > upTo {
			p.position = upTo
			return looked, nil
		}
		p.position = meta.Sequence.Stream
		if entry != nil && f.Match(entry) {
			p.entries = append(p.entries, entry)
		}
		if len(p.entries) == limit || p.position == upTo || meta.NumPending == 0 {
			return looked, nil
		}
	}
	return looked, nil
}

// nextMatch asks the stream's leader for the first message at or after a
// sequence on any of the subjects, and returns its sequence, or 0.
func (l *Log) nextMatch(ctx context.Context, subjects []string, from uint64) (uint64, error) {
	found := make([]uint64, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, subject := range subjects {
		g.Go(func() error {
			msg, err := l.stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
			if isNotFound(err) {
				return nil
			}
			if err == nil {
				found[i] = msg.Sequence
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	first := uint64(0)
	for _, sequence := range found {
		if sequence != 0 && (first == 0 || sequence < first) {
			first = sequence
		}
	}
	return first, nil
}
