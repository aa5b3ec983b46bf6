package imapconn

import (
	"cmp"
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// PageOptions says which messages to fetch and what of them.
type PageOptions struct {
	// Size is the number of messages.
	Size int
	// Before, unless 0, takes only messages with a lower UID: the last UID of
	// the page before.
	Before imap.UID
	// Criteria, unless nil, takes only messages that match.
	Criteria *SearchCriteria
	// Fetch says what of each message. Sections are kept in memory, so Body must
	// be nil.
	Fetch *FetchOptions
}

// Page is a list of messages, the newest first.
type Page struct {
	// Messages are in descending order of UID. They may be fewer than were
	// asked for when messages are expunged at this moment, even if there are
	// more.
	Messages []*FetchMessage
	// More says that there are older messages that belong to the list.
	More bool
	// Total is the number of messages in the mailbox.
	Total uint32
}

// Page fetches a page of the selected mailbox, the newest messages first. The
// order is that of UIDs, so new mail never shifts a page. Mail that the server
// has when Page is called is seen.
//
// It takes one round trip in the usual cases: the first page, and any page that
// follows one that was seen on this connection. Otherwise it takes two. What
// makes that possible are the positions of UIDs that earlier pages have shown.
func (c *Conn) Page(ctx context.Context, opts *PageOptions) (*Page, error) {
	switch {
	case c.usable() != nil:
		return nil, c.usable()
	case c.mailbox == nil:
		return nil, &StateError{Command: "FETCH", Reason: "no mailbox is selected"}
	case opts.Size <= 0 || opts.Fetch.Body != nil:
		return nil, &StateError{Command: "FETCH", Reason: "a page needs a size and no Body"}
	}
	if c.suspects == nil || opts.Criteria != nil {
		return c.page(ctx, opts)
	}
	var page *Page
	at, r := c.suspected(), c.rungOf(opts.Fetch)
	read := func() (err error) {
		page, err = c.page(ctx, opts)
		return err
	}
	if !c.suspects.wary(at, r) {
		err := c.fetchUnnamed(ctx, at, r, read)
		return page, err
	}
	// Which messages there are is found out first.
	all := *opts
	all.Criteria, opts = &SearchCriteria{}, &all
	err := read()
	if err == nil {
		c.suspects.known(at, r)
	}
	return page, err
}

func (c *Conn) page(ctx context.Context, opts *PageOptions) (*Page, error) {
	p := &pager{c: c, opts: opts}
	defer func() {
		if c.mailbox != nil {
			c.mailbox.positions.tracked = nil
		}
	}()
	var err error
	switch {
	case opts.Criteria != nil:
		err = p.matching(ctx)
	case opts.Before == 0:
		err = p.newest(ctx)
	default:
		err = p.older(ctx)
	}
	if err != nil {
		return nil, err
	}
	return p.page(), nil
}

// pager gathers one page.
type pager struct {
	c     *Conn
	opts  *PageOptions
	found []*FetchMessage
	more  bool
	// astray says that a message was met which does not lie below the UID.
	astray bool
}

// add takes an answer in, or merges it into the one that is there: flags that
// have changed come in an answer of their own.
func (p *pager) add(m *FetchMessage) error {
	if i := slices.IndexFunc(p.found, func(x *FetchMessage) bool { return x.same(m) }); i >= 0 {
		p.found[i].merge(m)
		return nil
	}
	if p.opts.Before > 0 && m.UID >= p.opts.Before {
		p.astray = true
		return nil
	}
	if m.UID == 0 {
		return nil
	}
	p.found = append(p.found, m)
	p.c.mailbox.positions.tracked = p.found
	if len(p.found) > 2*p.opts.Size+maxSurplus {
		p.trim() // an old position, and much new mail since
	}
	return nil
}

// trim puts the newest first and drops what is too much, and what has been
// expunged since it was fetched.
func (p *pager) trim() {
	p.found = slices.DeleteFunc(p.found, func(m *FetchMessage) bool { return m.SeqNum == 0 })
	slices.SortFunc(p.found, func(a, b *FetchMessage) int { return cmp.Compare(b.UID, a.UID) })
	if len(p.found) > p.opts.Size {
		clear(p.found[p.opts.Size:])
		p.found = p.found[:p.opts.Size]
		p.more = true
	}
	p.c.mailbox.positions.tracked = p.found
}

func (m *FetchMessage) same(other *FetchMessage) bool {
	if m.UID != 0 && other.UID != 0 {
		return m.UID == other.UID
	}
	return m.SeqNum == other.SeqNum && m.SeqNum != 0
}

// merge takes over what a later answer says.
func (m *FetchMessage) merge(later *FetchMessage) {
	m.SeqNum = cmp.Or(later.SeqNum, m.SeqNum)
	if later.Flags != nil {
		m.Flags = later.Flags
	}
	m.ModSeq = max(m.ModSeq, later.ModSeq)
	if later.GmailLabels != nil {
		m.GmailLabels = later.GmailLabels
	}
}

func (p *pager) missing() int { return p.opts.Size - len(p.found) }

// newest gathers the first page, by UID from a position on if one is known, else
// by number. NOOP tells what is new: it goes before UIDs, and behind numbers,
// which RFC 9051 section 5.5 forbids after a command that may bring an EXPUNGE.
func (p *pager) newest(ctx context.Context) error {
	m := p.c.mailbox
	cmds := []*command{{name: "NOOP"}}
	if from, ok := m.positions.newest(m.messages, p.opts.Size); ok {
		cmds = append(cmds, p.fetch(imap.UIDSet{{Start: from}}))
	} else if m.messages > 0 {
		low := m.messages - min(m.messages, uint32(p.opts.Size)) + 1
		cmds = slices.Insert(cmds, 0, p.fetch(imap.SeqSet{{Start: low, Stop: m.messages}}))
	}
	if err := p.run(ctx, cmds...); err != nil {
		return err
	}
	// Dovecot answers NOOP only after the commands behind it, so mail that NOOP
	// has told of may be missing even where UIDs were asked for.
	if low, _ := p.span(); low == 0 {
		p.found = nil // nothing, or nothing that is still there
		return p.upTo(ctx, m.messages)
	}
	if _, high := p.span(); high < m.messages {
		low := max(high, m.messages-min(m.messages, uint32(p.opts.Size))) + 1
		if err := p.run(ctx, p.fetch(imap.SeqSet{{Start: low, Stop: m.messages}})); err != nil {
			return err
		}
	}
	p.trim()
	low, _ := p.span()
	return p.upTo(ctx, low-min(low, 1))
}

// span returns the lowest and the highest number that a message found has now,
// or 0 if none is left in the mailbox.
func (p *pager) span() (low, high uint32) {
	for _, m := range p.found {
		if m.SeqNum > 0 && (low == 0 || m.SeqNum < low) {
			low = m.SeqNum
		}
		high = max(high, m.SeqNum)
	}
	return low, high
}

// older gathers a page below a UID.
func (p *pager) older(ctx context.Context) error {
	m := p.c.mailbox
	if below, ok := m.positions.below(p.opts.Before); ok {
		if err := p.upTo(ctx, below); err != nil || !p.astray {
			return err
		}
		// What the server said of its messages does not add up: start anew.
		m.positions.forget()
		p.found, p.astray = nil, false
	}
	// How many messages lie below the UID is the sequence number to start from.
	// Some servers take RETURN and then do not count, hence the second attempt.
	for _, opts := range []*SearchOptions{{ReturnCount: true}, {}} {
		below, ok, err := p.countBelow(ctx, opts)
		if err != nil {
			return err
		}
		if ok {
			return p.upTo(ctx, below)
		}
	}
	return nil // no answer at all is what some servers give for no message
}

// countBelow asks how many messages lie below the UID.
func (p *pager) countBelow(ctx context.Context, opts *SearchOptions) (below uint32, ok bool, err error) {
	m := p.c.mailbox
	for range maxRounds {
		var counted uint32
		s := &searching{c: p.c, found: func(data *SearchData) {
			if data.Count != nil || data.All != nil || !opts.ReturnCount {
				counted = count(data)
				m.positions.learn(p.opts.Before, counted)
			}
		}}
		search := s.command(below1(p.opts.Before), opts)
		if err := p.c.run(ctx, &command{name: "NOOP"}, search); err != nil {
			return 0, false, err
		}
		if err := search.err(); err != nil {
			return 0, false, err
		}
		below, ok = m.positions.below(p.opts.Before)
		switch {
		case !ok && search.malformed != nil && !opts.ReturnCount:
			return 0, false, &ProtocolError{Command: "SEARCH", Err: search.malformed}
		case !ok || below == counted:
			return below, ok, nil
		}
		// An EXPUNGE came behind the answer. Not all servers count messages that
		// are gone until they have said so, and which this one did is unknown.
		m.positions.forget()
	}
	return below, ok, nil
}

// below1 is the criterion of all messages below a UID.
func below1(before imap.UID) *SearchCriteria {
	c := &SearchCriteria{}
	c.UID = []imap.UIDSet{{{Start: 1, Stop: max(before, 2) - 1}}}
	return c
}

// maxRounds bounds the attempts to fill a page from which messages are missing.
const maxRounds = 4

// upTo fills the page from the messages up to a sequence number.
func (p *pager) upTo(ctx context.Context, seq uint32) error {
	for range maxRounds {
		if seq == 0 || p.missing() <= 0 {
			break
		}
		low := seq - min(seq, uint32(p.missing())) + 1
		if err := p.run(ctx, p.fetch(imap.SeqSet{{Start: low, Stop: seq}})); err != nil {
			return err
		}
		seq = low - 1
	}
	p.trim()
	p.more = seq > 0
	return nil
}

func (p *pager) fetch(set imap.NumSet) *command {
	f := &fetching{c: p.c, opts: p.opts.Fetch, set: set, fn: p.add}
	return f.command("")
}

// run runs FETCH commands, possibly with a NOOP.
func (p *pager) run(ctx context.Context, cmds ...*command) error {
	if err := p.c.run(ctx, cmds...); err != nil {
		return err
	}
	for _, cmd := range cmds {
		if err := fetchError(cmd); err != nil {
			return err
		}
	}
	return nil
}

// matching gathers a page of the messages that match criteria.
func (p *pager) matching(ctx context.Context) error {
	criteria := p.opts.Criteria
	if p.opts.Before > 0 {
		both := *criteria
		both.UID = append(slices.Clip(both.UID), below1(p.opts.Before).UID...)
		criteria = &both
	}
	wanted := &SearchOptions{ReturnAll: true}
	if p.c.Has(capPartial) && !p.c.Has(capApple) {
		wanted = &SearchOptions{Partial: partialLast(p.opts.Size + 1)}
	}
	// The search looks at what NOOP has shown; UID SEARCH may follow it.
	data, err := p.c.search(ctx, criteria, wanted, &command{name: "NOOP"})
	if err != nil {
		return err
	}
	matches := data.All
	if data.Partial != nil {
		matches = data.Partial.Nums
	}
	newest, more := lastOf(matches, p.opts.Size)
	p.more = more
	if err := p.c.Fetch(ctx, newest, p.opts.Fetch, p.add); err != nil {
		return err
	}
	p.trim()
	p.more = more
	return nil
}

// lastOf returns the n highest UIDs of a set and whether there are more.
func lastOf(set imap.UIDSet, n int) (last imap.UIDSet, more bool) {
	for i := len(set) - 1; i >= 0; i-- {
		if n == 0 {
			return last, true
		}
		r := set[i]
		size := int(min(uint64(r.Stop-r.Start)+1, uint64(n)))
		last = append(imap.UIDSet{{Start: r.Stop - imap.UID(size) + 1, Stop: r.Stop}}, last...)
		n -= size
		if n == 0 && r.Stop-imap.UID(size)+1 > r.Start {
			return last, true
		}
	}
	return last, false
}

// page returns the result, and remembers where it ends for the next one.
func (p *pager) page() *Page {
	m := p.c.mailbox
	if n := len(p.found); n > 0 && p.opts.Criteria == nil {
		if last := p.found[n-1]; last.SeqNum > 0 {
			m.positions.learn(last.UID, last.SeqNum-1)
		}
	}
	return &Page{Messages: p.found, More: p.more, Total: m.messages}
}
