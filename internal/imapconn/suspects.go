package imapconn

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// There are messages that servers die of: Dovecot 2.3 ends the process when it
// is asked for the ENVELOPE of one whose header is very long. Anybody can send
// such mail, and whoever fetches a list with it in it gets nothing of the list.
// So it is noted which FETCH cost a connection. The next attempts ask in pieces,
// until it is proved which message it is; of that one less is asked for.

const (
	// hasteLimit bounds the attempts at a mailbox that follow each other at once.
	hasteLimit = 12
	// maxSuspectMailboxes bounds the mailboxes that are remembered, and
	// maxSuspectUIDs the messages of a FETCH that are told apart.
	maxSuspectMailboxes = 1000
	maxSuspectUIDs      = 100_000
)

// FetchLostError says that the connection was lost in the midst of a FETCH, which
// may be because of a message. It wraps what closed the connection.
type FetchLostError struct {
	Err error
	// Again says that the same call has a chance on a new connection, at once: it
	// will ask differently.
	Again bool
}

func (e *FetchLostError) Error() string { return e.Err.Error() }

// Unwrap returns what closed the connection.
func (e *FetchLostError) Unwrap() error { return e.Err }

// WorthRepeating reports whether a call that failed with err is best made again at
// once, on a new connection; see [FetchLostError]. That is so a bounded number of
// times.
func WorthRepeating(err error) bool {
	var lost *FetchLostError
	return errors.As(err, &lost) && lost.Again
}

// Suspects remembers, for all connections of one account, the messages that a
// server dies of when it is asked for them. The zero value is ready; its methods
// may be called from any goroutine.
type Suspects struct {
	mu        sync.Mutex
	mailboxes map[suspectMailbox]*suspectState
	// deaths numbers the connections that were lost. One that is older than the
	// last loss proves nothing: what ended the other may have ended it as well.
	deaths uint64
}

type suspectMailbox struct {
	name     string
	validity uint32
}

type suspectState struct {
	rungs [rungs]suspicion
	haste int
}

// rung is how much is asked of a message.
type rung int

const (
	rungEnvelope  rung = iota // all that may be asked for
	rungStructure             // without ENVELOPE, which the server makes of the header
	rungPreview               // without BODYSTRUCTURE either, which it makes of all
	rungContents              // nothing that it makes of the contents
	rungBare                  // no contents
	rungs
)

// rungOf is the first rung of which there is something to ask for.
func (c *Conn) rungOf(o *FetchOptions) rung {
	switch {
	case o.Envelope:
		return rungEnvelope
	case o.BodyStructure != nil:
		return rungStructure
	case o.Preview && c.Has(imap.CapPreview):
		return rungPreview
	case len(o.BodySection) > 0, len(o.BinarySection) > 0, len(o.BinarySectionSize) > 0:
		return rungContents
	}
	return rungBare
}

// atRung leaves out what is not asked for on a rung.
func (o *FetchOptions) atRung(r rung) *FetchOptions {
	less := *o
	if r > rungEnvelope {
		less.Envelope = false
	}
	if r > rungStructure {
		less.BodyStructure = nil
	}
	if r > rungPreview {
		less.Preview = false
	}
	if r > rungContents {
		less.BodySection, less.BinarySection, less.BinarySectionSize = nil, nil, nil
	}
	return &less
}

// answers reports whether an answer is to what is asked on a rung, and not only
// news of flags.
func (m *FetchMessage) answers(r rung) bool {
	switch r {
	case rungEnvelope:
		return m.Envelope != nil || len(m.Broken) > 0
	case rungStructure:
		return m.BodyStructure != nil || len(m.Broken) > 0
	case rungContents:
		return len(m.Sections) > 0 || len(m.Broken) > 0
	}
	return true // PREVIEW may be NIL
}

// on runs f with what is known of a mailbox, of which nothing is kept that says
// nothing.
func (s *Suspects) on(at suspectMailbox, f func(*suspectState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.mailboxes[at]
	if state == nil {
		state = &suspectState{}
	}
	f(state)
	if !slices.ContainsFunc(state.rungs[:], func(r suspicion) bool { return r.wary() }) {
		delete(s.mailboxes, at)
		return
	}
	if s.mailboxes == nil {
		s.mailboxes = make(map[suspectMailbox]*suspectState)
	}
	for other := range s.mailboxes {
		if len(s.mailboxes) < maxSuspectMailboxes || s.mailboxes[at] != nil {
			break
		}
		delete(s.mailboxes, other)
	}
	s.mailboxes[at] = state
}

// wary reports whether a FETCH on a rung has to name its messages.
func (s *Suspects) wary(at suspectMailbox, r rung) (wary bool) {
	s.on(at, func(state *suspectState) {
		wary = slices.ContainsFunc(state.rungs[r:], func(r suspicion) bool { return r.wary() })
	})
	return wary
}

// plan is [suspicion.plan].
func (s *Suspects) plan(at suspectMailbox, r rung, asked []imap.UID) (groups [][]imap.UID, guilty []imap.UID) {
	s.on(at, func(state *suspectState) { groups, guilty = state.rungs[r].plan(asked) })
	return groups, guilty
}

// survived takes note that messages were fetched without harm.
func (s *Suspects) survived(at suspectMailbox, r rung, uids []imap.UID) {
	s.on(at, func(state *suspectState) {
		state.rungs[r].survived(uids)
		state.settle()
	})
}

// known takes note that a FETCH was answered that did not name its messages at
// first.
func (s *Suspects) known(at suspectMailbox, r rung) {
	s.on(at, func(state *suspectState) {
		state.rungs[r].known()
		state.settle()
	})
}

// settle forgets the haste once all is well.
func (state *suspectState) settle() {
	if !slices.ContainsFunc(state.rungs[:], func(s suspicion) bool { return s.deaths > 0 }) {
		state.haste = 0
	}
}

// died takes note of a connection that was lost in a FETCH, and makes the error of
// it. born is how many had been lost when it was made.
func (s *Suspects) died(at suspectMailbox, r rung, asked []imap.UID, alone bool, born uint64, err error) error {
	lost := &FetchLostError{Err: err}
	s.on(at, func(state *suspectState) {
		if born == s.deaths {
			s.deaths++
			if state.rungs[r].died(asked, alone) {
				state.haste = 0
			}
		}
		state.haste++
		var silence *TimeoutError
		lost.Again = state.haste <= hasteLimit && !errors.As(err, &silence)
	})
	return lost
}

// calm takes note of a connection that was lost otherwise.
func (s *Suspects) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.mailboxes {
		for r := range state.rungs {
			state.rungs[r].calm()
		}
	}
}

// born is how many connections have been lost so far.
func (s *Suspects) born() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deaths
}

// isDeath reports whether an error is one that a server which dies of a command
// leaves behind, or one whose answer is beyond all bounds.
func isDeath(ctx context.Context, err error) bool {
	if _, throttled := RetryAfter(err); throttled || ctx.Err() != nil {
		return false
	}
	var protocol *ProtocolError
	return diedAtRest(err) || errors.As(err, &protocol)
}

// suspected is the selected mailbox for the account's Suspects.
func (c *Conn) suspected() suspectMailbox {
	return suspectMailbox{name: c.mailbox.name, validity: c.mailbox.data.UIDValidity}
}

// fetchWarily is Fetch with regard to messages that servers die of.
func (c *Conn) fetchWarily(ctx context.Context, set imap.NumSet, opts *FetchOptions, fn func(*FetchMessage) error) error {
	at, r := c.suspected(), c.rungOf(opts)
	asked, named := named(set)
	if !named {
		if !c.suspects.wary(at, r) {
			return c.fetchUnnamed(ctx, at, r, func() error { return c.fetch(ctx, set, opts, fn) })
		}
		var err error
		if asked, err = c.name(ctx, set); err != nil {
			return err
		}
	}
	for step := r; step < rungs && len(asked) > 0; step++ {
		if c.rungOf(opts.atRung(step)) > step {
			continue // there is nothing of this rung to ask for
		}
		groups, guilty := c.suspects.plan(at, step, asked)
		for _, group := range groups {
			if err := c.fetchGroup(ctx, at, step, group, opts, fn); err != nil {
				return err
			}
		}
		asked = guilty
	}
	if !named {
		c.suspects.known(at, r)
	}
	return nil
}

// fetchUnnamed runs a FETCH that does not name its messages.
func (c *Conn) fetchUnnamed(ctx context.Context, at suspectMailbox, r rung, fetch func() error) error {
	err := fetch()
	switch {
	case c.err == nil:
		c.suspects.known(at, r)
	case isDeath(ctx, err):
		return c.suspects.died(at, r, nil, false, c.born, err)
	}
	return err
}

// errDeadly stands for an item that is not asked for any more.
var errDeadly = errors.New("the server closes the connection when it is asked for this")

// fetchGroup fetches some messages with what may be asked for on a rung.
func (c *Conn) fetchGroup(ctx context.Context, at suspectMailbox, r rung, group []imap.UID, opts *FetchOptions, fn func(*FetchMessage) error) error {
	var answered []imap.UID
	less := c.rungOf(opts) < r
	err := c.fetch(ctx, imap.UIDSetNum(group...), opts.atRung(r), func(m *FetchMessage) error {
		if m.answers(r) {
			answered = append(answered, m.UID)
		}
		if m.Unreadable = less; less && opts.Envelope {
			m.Broken = append(m.Broken, imapwire.BrokenItem{Name: "ENVELOPE", Err: errDeadly})
		}
		return fn(m)
	})
	if c.err == nil {
		c.suspects.survived(at, r, group)
		return err
	}
	if !isDeath(ctx, err) {
		return err
	}
	slices.Sort(answered)
	alone := len(group) == 1
	if _, left := part(group, answered); len(left) > 0 {
		c.suspects.survived(at, r, answered)
		group = left
	}
	return c.suspects.died(at, r, group, alone, c.born, err)
}

// named returns the messages of a set that names them one by one, in order.
func named(set imap.NumSet) (uids []imap.UID, ok bool) {
	list, ok := set.(imap.UIDSet)
	if !ok || imap.IsSearchRes(set) || list.Dynamic() {
		return nil, false
	}
	var n uint64
	for _, r := range list {
		n += uint64(max(r.Start, r.Stop)-min(r.Start, r.Stop)) + 1
	}
	if n > maxSuspectUIDs {
		return nil, false
	}
	uids, ok = list.Nums()
	slices.Sort(uids)
	return slices.Compact(uids), ok
}

// name finds out which messages are in a set.
func (c *Conn) name(ctx context.Context, set imap.NumSet) ([]imap.UID, error) {
	criteria := &SearchCriteria{}
	switch set := set.(type) {
	case imap.UIDSet:
		criteria.UID = []imap.UIDSet{set}
	case imap.SeqSet:
		criteria.SeqNum = []imap.SeqSet{set}
	}
	found, err := c.Search(ctx, criteria, nil)
	if err != nil {
		return nil, err
	}
	uids, _ := found.All.Nums()
	slices.SortFunc(uids, cmp.Compare[imap.UID])
	return uids, nil
}
