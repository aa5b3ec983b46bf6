package imapconn

import (
	"context"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// The capability of Gmail's extensions.
// https://developers.google.com/workspace/gmail/imap/imap-extensions
const capGmail imap.Cap = "X-GM-EXT-1"

const (
	// defaultMaxSection is how much of a section is kept in memory by default.
	defaultMaxSection = 1 << 20
	// maxDrainLiteral is the largest section that is read to its end after the
	// caller has lost interest in it, so as to keep the connection.
	maxDrainLiteral = 64 << 10
	// maxDrainMessages is likewise the number of messages.
	maxDrainMessages = 256
	// maxSetBytes keeps a command line within what servers take (RFC 7162
	// section 4: 8,192 bytes).
	maxSetBytes = 7000
)

// FetchOptions says what to fetch. What the server cannot deliver for want of
// a capability is not asked for, and so is missing from the answer.
type FetchOptions struct {
	imap.FetchOptions

	EmailID, ThreadID bool // OBJECTID (RFC 8474)
	Preview           bool // PREVIEW (RFC 8970)
	SaveDate          bool // SAVEDATE (RFC 8514)

	GmailMsgID, GmailThreadID, GmailLabels bool

	// Vanished, with ChangedSince, a UID set and QRESYNC enabled, asks for the
	// messages of the set that have gone since (RFC 7162 section 3.2.6). It may
	// be called several times, and with messages that were never there.
	Vanished func(imap.UIDSet)

	// Body is called for each section with the message as far as it is known,
	// and streams it: the section's Literal, nil for a part that is not there,
	// is valid during the call; what is left unread is skipped. An error of
	// Body ends the fetch; unless the section is small it closes the connection
	// too, for the rest would have to be transferred.
	//
	// Without Body sections are kept in the message, up to MaxSection bytes
	// each; 0 means 1 MiB.
	Body       func(*FetchMessage, *BodySection) error
	MaxSection int64
}

// BodySection is a section of a message's contents while it is transferred.
type BodySection = imapwire.BodySection

// FetchMessage is what a FETCH response says of a message. What the response
// did not say is zero.
type FetchMessage struct {
	imapwire.FetchData
	// Sections are the contents that were asked for, unless Body took them.
	Sections []Section
	// Unreadable says that less was asked for than was wanted, because the server
	// has closed the connection each time it was asked for that.
	Unreadable bool
}

// Section is a section of a message's contents in memory.
type Section struct {
	// Name is "BODY" or "BINARY", or an older name of the former.
	Name string
	Spec imap.FetchItemBodySection
	Data []byte
	// Truncated says that the section is longer than Data.
	Truncated bool
}

// Section returns the contents of a section that was asked for by spec, and
// whether the answer has it.
func (m *FetchMessage) Section(spec *imap.FetchItemBodySection) ([]byte, bool) {
	for _, s := range m.Sections {
		if s.Name != "BINARY" && imapwire.SameSection(spec, &s.Spec) {
			return s.Data, true
		}
	}
	return nil, false
}

// Binary returns the decoded contents of a part that was asked for by BINARY,
// and whether the answer has it.
func (m *FetchMessage) Binary(part []int) ([]byte, bool) {
	for _, s := range m.Sections {
		if s.Name == "BINARY" && slices.Equal(s.Spec.Part, part) {
			return s.Data, true
		}
	}
	return nil, false
}

// Fetch fetches messages by UID or sequence number, depending on the type of
// set, and calls fn for each answer. fn may be called in any order, and more
// than once for a message, then with what has changed meanwhile. Messages that
// are gone are left out, also where the server makes an error of that.
//
// An error of fn ends the fetch and comes back as it is. If much of the answer
// is still to come, the connection is closed as well. When the connection is lost
// otherwise, that is a [*FetchLostError]; see [Suspects].
func (c *Conn) Fetch(ctx context.Context, set imap.NumSet, opts *FetchOptions, fn func(*FetchMessage) error) error {
	if c.usable() == nil && c.mailbox == nil {
		return &StateError{Command: "FETCH", Reason: "no mailbox is selected"}
	}
	if c.suspects == nil || opts.Body != nil || c.usable() != nil {
		return c.fetch(ctx, set, opts, fn)
	}
	return c.fetchWarily(ctx, set, opts, fn)
}

// fetch is Fetch, whatever messages were found to do.
func (c *Conn) fetch(ctx context.Context, set imap.NumSet, opts *FetchOptions, fn func(*FetchMessage) error) error {
	for _, part := range splitSet(set) {
		f := &fetching{c: c, opts: opts, set: part, fn: fn}
		cmd := f.command("")
		if err := c.run(ctx, cmd); err != nil {
			return err
		}
		if f.stopped != nil {
			return f.stopped
		}
		if err := fetchError(cmd); err != nil {
			return err
		}
	}
	return nil
}

// FetchRequest is one of several FETCH commands that go out together.
type FetchRequest struct {
	Set     imap.UIDSet
	Options *FetchOptions
}

// FetchAll is [Conn.Fetch] for several commands in one round trip, each for
// other messages. The sets have to be short enough for a command each.
func (c *Conn) FetchAll(ctx context.Context, requests []FetchRequest, fn func(*FetchMessage) error) error {
	if c.usable() == nil && c.mailbox == nil {
		return &StateError{Command: "FETCH", Reason: "no mailbox is selected"}
	}
	if len(requests) == 0 {
		return nil
	}
	if c.suspects == nil || c.usable() != nil {
		return c.fetchAll(ctx, requests, fn)
	}
	r := rungBare
	for _, request := range requests {
		r = min(r, c.rungOf(request.Options))
	}
	if at := c.suspected(); !c.suspects.wary(at, r) {
		return c.fetchUnnamed(ctx, at, r, func() error { return c.fetchAll(ctx, requests, fn) })
	}
	for _, request := range requests {
		if err := c.fetchWarily(ctx, request.Set, request.Options, fn); err != nil {
			return err
		}
	}
	c.suspects.known(c.suspected(), r)
	return nil
}

// fetchAll is FetchAll, whatever messages were found to do.
func (c *Conn) fetchAll(ctx context.Context, requests []FetchRequest, fn func(*FetchMessage) error) error {
	// The answers to a command may come while an earlier one is under way.
	var all imap.UIDSet
	for _, r := range requests {
		all.AddSet(r.Set)
	}
	fetches := make([]*fetching, len(requests))
	cmds := make([]*command, len(requests))
	for i, r := range requests {
		fetches[i] = &fetching{c: c, opts: r.Options, set: r.Set, together: all, fn: fn}
		cmds[i] = fetches[i].command("")
	}
	if err := c.run(ctx, cmds...); err != nil {
		return err
	}
	for i := range requests {
		if fetches[i].stopped != nil {
			return fetches[i].stopped
		}
		if err := fetchError(cmds[i]); err != nil {
			return err
		}
	}
	return nil
}

// splitSet divides a long set into several short ones.
func splitSet(set imap.NumSet) []imap.NumSet {
	uids, ok := set.(imap.UIDSet)
	if !ok || imap.IsSearchRes(set) {
		return []imap.NumSet{set}
	}
	var parts []imap.NumSet
	for _, part := range imapwire.SplitUIDs(uids, maxSetBytes) {
		parts = append(parts, part)
	}
	return parts
}

// fetchError returns the refusal of a FETCH, unless it is about messages that
// are gone: what the server sent of the others is good.
func fetchError(cmd *command) error {
	err := cmd.err()
	if err == nil || cmd.status.Type != imap.StatusResponseTypeNo {
		return err
	}
	if cmd.status.Code == "EXPUNGEISSUED" || saysGone(cmd.status) { // RFC 5530 section 3
		return nil
	}
	return err
}

// fetching is a FETCH command under way.
type fetching struct {
	c    *Conn
	opts *FetchOptions
	set  imap.NumSet
	fn   func(*FetchMessage) error
	// together, unless nil, has the messages of all commands that were sent with
	// this one.
	together imap.UIDSet
	// stopped is the error of a caller's function. The answers after it are
	// read and dropped.
	stopped error
	dropped int
	held    []*FetchMessage // see settle
	solid   *FetchMessage   // the last message of which the server had contents
}

func isFetch(cmd *command) bool { return cmd.name == "FETCH" || cmd.name == "UID FETCH" }

// command returns the command. partial is a range of PARTIAL (RFC 9394), which
// does not go together with ChangedSince, or empty.
func (f *fetching) command(partial string) *command {
	name := "FETCH"
	_, byUID := f.set.(imap.UIDSet)
	if byUID {
		name = "UID FETCH"
	}
	return &command{name: name, data: f.read, settle: f.settle, encode: func(e *imapwire.Encoder) {
		if byUID {
			e.Atom("UID").SP()
		}
		e.Atom("FETCH").SP().NumSet(f.set).SP()
		e.FetchItems(f.c.available(f.opts, byUID))
		if partial != "" {
			e.SP().Special('(').Atom("PARTIAL").SP().Atom(partial).Special(')')
		}
	}}
}

func (f *fetching) read(r imapwire.Response) (claimed bool, err error) {
	switch r.Name {
	case "FETCH", "UIDFETCH":
	case "VANISHED":
		return true, f.vanished()
	default:
		return false, nil
	}
	m := &FetchMessage{}
	err = f.c.dec.FetchInto(&m.FetchData, r, func(_ *imapwire.FetchData, s *BodySection) error {
		return f.section(m, s)
	})
	if err != nil {
		return true, err
	}
	if !f.asked(m) {
		f.c.updates.Flags = true
		return true, nil
	}
	if f.stopped != nil {
		if f.dropped++; f.dropped > maxDrainMessages {
			return true, &callbackError{f.stopped}
		}
		return true, nil
	}
	if f.hold(m) {
		return true, nil
	}
	f.stopped = f.fn(m)
	return true, nil
}

// asked tells an answer from news of other messages, which servers may send at
// any time (RFC 9051 section 7.5.2).
func (f *fetching) asked(m *FetchMessage) bool {
	if f.together != nil {
		return f.together.Contains(m.UID)
	}
	switch set := f.set.(type) {
	case imap.SeqSet:
		return set.Contains(m.SeqNum) || slices.ContainsFunc(set, func(r imap.SeqRange) bool { return r.Start == 0 })
	case imap.UIDSet:
		if m.UID == 0 {
			// An answer of a server that forgets the UID, or else news of flags.
			return m.Envelope != nil || m.BodyStructure != nil || len(m.Sections) > 0
		}
		return imap.IsSearchRes(set) || set.Contains(m.UID) || f.isLastOf(set, m)
	}
	return true
}

// isLastOf reports whether the answer is there because of a star in the set: n:*
// has the last message also where its UID is below n (RFC 9051 section 6.4.5).
// Flags alone are news of it.
func (f *fetching) isLastOf(set imap.UIDSet, m *FetchMessage) bool {
	if slices.ContainsFunc(set, func(r imap.UIDRange) bool { return r.Start == 0 }) {
		return true
	}
	star := slices.ContainsFunc(set, func(r imap.UIDRange) bool { return r.Stop == 0 })
	return star && m.SeqNum >= f.c.NumMessages() &&
		(m.Envelope != nil || m.BodyStructure != nil || len(m.Sections) > 0 || m.Size > 0 || !m.InternalDate.IsZero())
}

func (f *fetching) vanished() error {
	v, err := f.c.dec.Vanished()
	if err != nil {
		return err
	}
	if !v.Earlier {
		f.c.vanished(v.UIDs)
	} else if f.opts.Vanished != nil {
		f.opts.Vanished(v.UIDs)
	}
	return nil
}

// section takes a section in.
func (f *fetching) section(m *FetchMessage, s *BodySection) error {
	if s.Literal != nil && s.Literal.Size() > int64(len("\r\n")) {
		f.solid = m // an empty header says nothing
	}
	if f.stopped != nil {
		return f.abandon(s)
	}
	if f.opts.Body != nil {
		err := f.opts.Body(m, s)
		if broken := f.c.dec.Err(); broken != nil {
			return broken // which is why Body failed, whatever it made of that
		}
		if err != nil {
			f.stopped = err
			return f.abandon(s)
		}
		return nil
	}
	if s.Literal == nil {
		return nil
	}
	limit := f.opts.MaxSection
	if limit <= 0 {
		limit = defaultMaxSection
	}
	kept := Section{Name: s.Name, Spec: s.Section, Truncated: s.Literal.Size() > limit}
	kept.Data = make([]byte, min(limit, s.Literal.Size()))
	if _, err := io.ReadFull(s.Literal, kept.Data); err != nil {
		return err
	}
	m.Sections = append(m.Sections, kept)
	return nil
}

// abandon skips a small section that nobody wants any more, and closes the
// connection rather than skipping a large one.
func (f *fetching) abandon(s *BodySection) error {
	if s.Literal == nil || s.Literal.Size() <= maxDrainLiteral {
		return nil
	}
	return &callbackError{f.stopped}
}
