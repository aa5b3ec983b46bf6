package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// StatusOptions says what to tell of a mailbox.
type StatusOptions = imapwire.StatusOptions

// StatusData is the state of a mailbox. What the server did not tell is zero.
type StatusData = imapwire.StatusData

// Status asks for the state of a mailbox that need not be selected (RFC 9051
// section 6.3.11). Items that the server lacks are not asked for. To ask it of
// the selected mailbox is not portable.
func (c *Conn) Status(ctx context.Context, name string, opts *StatusOptions) (*StatusData, error) {
	cmd, data := c.statusCommand(name, opts)
	if _, err := c.do(ctx, cmd); err != nil {
		return nil, err
	}
	if *data == nil {
		return nil, &ProtocolError{Command: "STATUS", Err: errNoData}
	}
	return *data, nil
}

// StatusResult is the answer for one mailbox of [Conn.StatusAll].
type StatusResult struct {
	Data *StatusData
	// Err is the server's refusal, an [*Error].
	Err error
}

// statusBatch is how many STATUS commands are in flight together: few enough
// for their text to fit any buffer on the way.
const statusBatch = 32

// StatusAll asks for the state of many mailboxes in as few round trips as
// possible, for servers that lack LIST-STATUS. The results are in the order of
// the names.
func (c *Conn) StatusAll(ctx context.Context, names []string, opts *StatusOptions) ([]StatusResult, error) {
	results := make([]StatusResult, 0, len(names))
	for len(names) > 0 {
		n := min(len(names), statusBatch)
		cmds, data := make([]*command, n), make([]**StatusData, n)
		for i, name := range names[:n] {
			cmds[i], data[i] = c.statusCommand(name, opts)
		}
		if err := c.run(ctx, cmds...); err != nil {
			return nil, err
		}
		for i, cmd := range cmds {
			result := StatusResult{Data: *data[i], Err: cmd.err()}
			if result.Data == nil && result.Err == nil {
				result.Err = &ProtocolError{Command: "STATUS", Err: errNoData}
			}
			results = append(results, result)
		}
		names = names[n:]
	}
	return results, nil
}

// statusCommand returns the command and where its answer will be.
func (c *Conn) statusCommand(name string, opts *StatusOptions) (*command, **StatusData) {
	result := new(*StatusData)
	cmd := &command{name: "STATUS", encode: func(e *imapwire.Encoder) {
		encodeName(e.Atom("STATUS").SP(), name).SP().StatusItems(c.statusOptions(opts))
	}}
	cmd.data = exactly("STATUS", func(imapwire.Response) error {
		data, err := c.dec.Status()
		if err != nil {
			return err
		}
		// Servers may spell a name in their own way, so without NOTIFY there is
		// nothing else that the answer could be.
		raw, isRaw := cutRaw(name)
		mine := !c.notifying || isRaw && raw == data.RawName || sameMailbox(data.Mailbox, name)
		switch {
		case mine && (*result == nil || data.UIDValidity != 0):
			*result = data
		default: // news by NOTIFY, of this mailbox too: it has fewer items
			c.news(data)
		}
		return nil
	})
	return cmd, result
}

// statusOptions returns the options that the server understands.
func (c *Conn) statusOptions(opts *StatusOptions) *imapwire.StatusOptions {
	o := *opts
	o.Size = o.Size && c.Has(imap.CapStatusSize)
	o.NumDeleted = o.NumDeleted && (c.Has(imap.CapIMAP4rev2) || c.Has("QUOTA=RES-MESSAGE"))
	o.DeletedStorage = o.DeletedStorage && c.Has("QUOTA=RES-STORAGE")
	o.HighestModSeq = o.HighestModSeq && c.Has(imap.CapCondStore)
	o.MailboxID = o.MailboxID && c.Has(imap.CapObjectID)
	if _, ok := c.caps.set.AppendLimit(); !ok {
		o.AppendLimit = false
	}
	if o == (imapwire.StatusOptions{}) {
		o.NumMessages = true // an empty list of items is not allowed
	}
	return &o
}
