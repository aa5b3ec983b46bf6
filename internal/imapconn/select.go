package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// SelectOptions says how to open a mailbox.
type SelectOptions struct {
	// ReadOnly opens it by EXAMINE, which changes nothing in it.
	ReadOnly bool
	// QResync asks what has changed since a known state. It is ignored unless
	// the server has enabled QRESYNC.
	QResync *QResync
}

// QResync is a known state of a mailbox (RFC 7162 section 3.2.5).
type QResync struct {
	UIDValidity uint32
	ModSeq      uint64
	// KnownUIDs, if not empty, bounds the messages that are of interest.
	KnownUIDs imap.UIDSet
	// Changed is called for each message that is new or whose flags have
	// changed. It may be nil.
	Changed func(*FetchMessage) error
}

// SelectData is what the server tells of a mailbox it opens.
type SelectData struct {
	// ReadOnly says that messages cannot be changed, asked for or not.
	ReadOnly       bool
	Flags          []imap.Flag
	PermanentFlags []imap.Flag
	NumMessages    uint32
	// UIDNext and UIDValidity are 0 if the server did not tell.
	UIDNext     imap.UID
	UIDValidity uint32
	// HighestModSeq is 0 if the mailbox has no mod-sequences.
	HighestModSeq uint64
	// MailboxID is the server's identifier of the mailbox (RFC 8474), or empty.
	MailboxID string
	// Vanished has the messages that have gone since the state in QResync. It
	// may name messages that were never there.
	Vanished imap.UIDSet
}

// Select opens a mailbox (RFC 9051 section 6.3.2). The one that was open before
// is closed without an EXPUNGE, also if this one cannot be opened. CONDSTORE is
// asked for where the server has it.
func (c *Conn) Select(ctx context.Context, name string, opts *SelectOptions) (*SelectData, error) {
	if opts == nil {
		opts = &SelectOptions{}
	}
	s := &selecting{c: c, opts: opts}
	verb := "SELECT"
	if opts.ReadOnly {
		verb = "EXAMINE"
	}
	if err := c.usable(); err != nil {
		return nil, err
	}
	c.deselect()
	status, err := c.do(ctx, &command{name: verb, data: s.read, encode: func(e *imapwire.Encoder) {
		encodeName(e.Atom(verb).SP(), name)
		c.encodeSelectParams(e, opts)
	}})
	if err != nil {
		return nil, err
	}
	s.data.ReadOnly = opts.ReadOnly || s.data.ReadOnly || status.Code == "READ-ONLY"
	c.state = imap.ConnStateSelected
	c.mailbox = &mailbox{
		name:     name,
		examined: opts.ReadOnly,
		data:     s.data,
		messages: s.data.NumMessages,
	}
	return &c.mailbox.data, nil
}

// deselect forgets the selected mailbox.
func (c *Conn) deselect() {
	c.mailbox = nil
	c.updates.Exists, c.updates.Expunged, c.updates.Flags = false, false, false
	if c.state == imap.ConnStateSelected {
		c.state = imap.ConnStateAuthenticated
	}
}

// encodeSelectParams writes select-params (RFC 4466 section 2.1).
func (c *Conn) encodeSelectParams(e *imapwire.Encoder, opts *SelectOptions) {
	q := opts.QResync
	switch {
	case q != nil && c.enabled&enabledQResync != 0 && q.UIDValidity > 0 && q.ModSeq > 0:
		e.SP().Special('(').Atom("QRESYNC").SP().Special('(')
		e.Number(q.UIDValidity).SP().ModSeq(q.ModSeq)
		if len(q.KnownUIDs) > 0 {
			e.SP().NumSet(q.KnownUIDs)
		}
		e.Special(')').Special(')')
	case c.Has(imap.CapCondStore):
		e.SP().Special('(').Atom("CONDSTORE").Special(')')
	}
}

// selecting collects what the server tells while it opens a mailbox.
type selecting struct {
	c    *Conn
	opts *SelectOptions
	data SelectData
}

func (s *selecting) read(r imapwire.Response) (claimed bool, err error) {
	switch r.Name {
	case "EXISTS":
		s.data.NumMessages = r.Num
	case "EXPUNGE":
		s.data.NumMessages = max(s.data.NumMessages, 1) - 1
	case "RECENT":
	case "FLAGS":
		s.data.Flags, err = s.c.dec.Flags()
	case "OK":
		s.code(r.Status)
	case "VANISHED":
		err = s.vanished()
	case "FETCH":
		err = s.changed(r)
	case "LIST": // IMAP4rev2 sends the name it goes by
	default:
		return false, nil
	}
	return true, err
}

func (s *selecting) code(status *imapwire.Status) {
	switch status.Code {
	case "CLOSED":
		// RFC 7162 section 3.2.11: what came before was of the old mailbox.
		s.data = SelectData{}
	case "PERMANENTFLAGS":
		s.data.PermanentFlags, _ = status.PermanentFlags()
	case "UIDNEXT":
		s.data.UIDNext, _ = status.UIDNext()
	case "UIDVALIDITY":
		s.data.UIDValidity, _ = status.UIDValidity()
	case "HIGHESTMODSEQ":
		s.data.HighestModSeq, _ = status.HighestModSeq()
	case "MAILBOXID":
		s.data.MailboxID, _ = status.MailboxID()
	case "READ-ONLY":
		s.data.ReadOnly = true
	}
}

// Unselect closes the selected mailbox without an EXPUNGE (RFC 9051 section
// 6.4.2). Where the server lacks it, a mailbox that cannot exist is opened
// instead, for a SELECT that fails leaves none selected (section 6.3.2).
func (c *Conn) Unselect(ctx context.Context) error {
	if err := c.usable(); err != nil {
		return err
	}
	if c.mailbox == nil {
		return nil
	}
	if c.Has(imap.CapUnselect) {
		_, err := c.do(ctx, &command{name: "UNSELECT"})
		if err == nil {
			c.deselect()
		}
		return err
	}
	c.deselect()
	cmd := &command{name: "EXAMINE", encode: func(e *imapwire.Encoder) {
		e.Atom("EXAMINE").SP().Mailbox("postern.no.such.mailbox")
	}}
	return c.run(ctx, cmd)
}

// vanished takes in the messages that have gone since the known state. FETCH and
// VANISHED before the completion speak of the mailbox that is being opened.
func (s *selecting) vanished() error {
	v, err := s.c.dec.Vanished()
	if err == nil {
		s.data.Vanished.AddSet(v.UIDs)
	}
	return err
}

func (s *selecting) changed(r imapwire.Response) error {
	q := s.opts.QResync
	if q == nil || q.Changed == nil {
		return nil
	}
	data, err := s.c.dec.Fetch(r, nil)
	if err != nil {
		return err
	}
	if err := q.Changed(&FetchMessage{FetchData: *data}); err != nil {
		return &callbackError{err}
	}
	return nil
}
