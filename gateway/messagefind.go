package gateway

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/query"
)

const (
	// scanBudget bounds the messages that one request looks at where a search
	// of the server cannot tell which match.
	scanBudget = 2000
	// readCost is how many of them a message counts for whose text is read.
	readCost = 20
	// scanStep is how many are looked at at a time.
	scanStep = 200
)

// finder carries a filter out for one request, in one folder or in several at
// once.
type finder struct {
	filter query.Expr // nil for all messages
	now    time.Time  // what ages are counted from
	budget atomic.Int64
	// asciiOnly: the server has refused to search for text beyond ASCII.
	asciiOnly atomic.Bool
}

func newFinder(filter query.Expr, now time.Time) *finder {
	f := &finder{filter: filter, now: now.Truncate(time.Second)}
	f.budget.Store(scanBudget)
	return f
}

// findOptions say which page of a folder's messages to find.
type findOptions struct {
	size   int
	before imap.UID // only below this UID, unless 0
	fetch  *imapconn.FetchOptions
}

// finding is a page of the messages that match, the highest UID first.
type finding struct {
	messages []*imapconn.FetchMessage
	// more says that there are or may be others below.
	more bool
	// scanned, unless 0, is the UID down to which nothing else matches, and
	// scannedAt is when that message arrived. The page ends there although it
	// is not full, because the budget is spent.
	scanned   imap.UID
	scannedAt time.Time
}

// page finds a page in the selected mailbox. Where the server can search
// exactly that is one round trip.
func (f *finder) page(ctx context.Context, c *imapconn.Conn, o findOptions) (*finding, error) {
	return retryCharset(f, func() (*finding, error) {
		plan, err := f.plan(c)
		if err != nil {
			return nil, err
		}
		if plan == nil || plan.Exact() {
			opts := &imapconn.PageOptions{Size: o.size, Before: o.before, Fetch: o.fetch}
			if plan != nil {
				opts.Criteria = plan.Search
			}
			page, err := c.Page(ctx, opts)
			if err != nil {
				return nil, err
			}
			return &finding{messages: page.Messages, more: page.More}, nil
		}
		s := &scan{finder: f, c: c, plan: plan}
		if err := s.run(ctx, o.before, o.size+1); err != nil {
			return nil, err
		}
		return s.finding(ctx, o)
	})
}

// retryCharset tries once more without the charset that the server refuses.
func retryCharset[T any](f *finder, find func() (T, error)) (T, error) {
	found, err := find()
	var refused *imapconn.BadCharsetError
	if errors.As(err, &refused) && f.asciiOnly.CompareAndSwap(false, true) {
		return find()
	}
	return found, err
}

// plan is how this server finds what matches; nil stands for everything.
func (f *finder) plan(c *imapconn.Conn) (*query.Plan, error) {
	if f.filter == nil {
		return nil, nil
	}
	return query.NewPlan(f.filter, query.Options{Caps: c.Caps(), ASCIIOnly: f.asciiOnly.Load(), Now: f.now})
}

// spend takes messages from the budget, and reports false if it has none left.
func (f *finder) spend(n int) bool { return f.budget.Add(-int64(n)) > -int64(n) }

// exhausted reports whether nothing more can be looked at.
func (f *finder) exhausted() bool { return f.budget.Load() <= 0 }

// sorted gives the messages that match below a UID, in another order.
func (f *finder) sorted(ctx context.Context, c *imapconn.Conn, order []imapconn.SortCriterion, before imap.UID) ([]imap.UID, error) {
	return retryCharset(f, func() ([]imap.UID, error) {
		plan, err := f.plan(c)
		if err != nil {
			return nil, err
		}
		if plan == nil {
			plan = &query.Plan{Search: &query.Criteria{}}
		}
		uids, err := c.Sort(ctx, order, belowUID(plan.Search, before))
		if err != nil || plan.Exact() {
			return uids, err
		}
		s := &scan{finder: f, c: c, plan: plan}
		if err := s.run(ctx, before, len(uids)+1); err != nil {
			return nil, err
		}
		if s.stopped {
			return nil, tooMuchToLookAt()
		}
		matches := make(map[imap.UID]bool, len(s.found))
		for _, uid := range s.found {
			matches[uid] = true
		}
		return slices.DeleteFunc(uids, func(uid imap.UID) bool { return !matches[uid] }), nil
	})
}

// all gives the messages that match below a UID.
func (f *finder) all(ctx context.Context, c *imapconn.Conn, before imap.UID) (imap.UIDSet, error) {
	return retryCharset(f, func() (imap.UIDSet, error) {
		plan, err := f.plan(c)
		if err != nil {
			return nil, err
		}
		s := &scan{finder: f, c: c, plan: cmp.Or(plan, &query.Plan{Search: &query.Criteria{}})}
		if s.plan.Exact() {
			if err := c.Noop(ctx); err != nil {
				return nil, err
			}
			return s.search(ctx, belowUID(s.plan.Search, before))
		}
		if err := s.run(ctx, before, math.MaxInt); err != nil {
			return nil, err
		}
		if s.stopped {
			return nil, tooMuchToLookAt()
		}
		return imap.UIDSetNum(s.found...), nil
	})
}

// tooMuchToLookAt: what has to be complete cannot go on in the next page.
func tooMuchToLookAt() error {
	return refuseField("filter", reasonFilterUnsupported,
		"The mail server cannot search for this exactly, and more than %d messages would have to be looked at: narrow the filter down, or list the messages in the order of their arrival.", scanBudget)
}

// belowUID narrows a search to lower UIDs.
func belowUID(criteria *query.Criteria, before imap.UID) *query.Criteria {
	if before == 0 {
		return criteria
	}
	narrowed := *criteria
	narrowed.UID = append(slices.Clip(narrowed.UID), imap.UIDSet{{Start: 1, Stop: max(before, 2) - 1}})
	return &narrowed
}

// takeHighest takes the n highest UIDs off a set that is in order.
func takeHighest(set imap.UIDSet, n int) (taken []imap.UID, left imap.UIDSet) {
	for len(taken) < n && len(set) > 0 {
		last := &set[len(set)-1]
		taken = append(taken, last.Stop)
		if last.Stop == last.Start {
			set = set[:len(set)-1]
		} else {
			last.Stop--
		}
	}
	return taken, set
}
