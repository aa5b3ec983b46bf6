package imapconn

import (
	"context"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// CopyData says which message became which: the n-th UID of SourceUIDs is the
// n-th of DestUIDs, each in its own order; see [imapwire.CopiedTo].
type CopyData = imap.CopyData

// Copy copies messages to the end of another mailbox (RFC 9051 section 6.4.7).
// The result is nil where the server does not tell the new UIDs (UIDPLUS).
func (c *Conn) Copy(ctx context.Context, uids imap.UIDSet, mailbox string) (*CopyData, error) {
	return c.transfer(ctx, "COPY", uids, mailbox)
}

// transfer runs UID COPY or UID MOVE, in several commands if the set is long.
func (c *Conn) transfer(ctx context.Context, verb string, uids imap.UIDSet, mailbox string) (*CopyData, error) {
	if c.usable() == nil && c.mailbox == nil {
		return nil, &StateError{Command: verb, Reason: "no mailbox is selected"}
	}
	var all *CopyData
	collect := func(s *imapwire.Status) {
		data, ok := s.CopyUID()
		if !ok {
			return
		}
		if all == nil {
			all = &CopyData{UIDValidity: data.UIDValidity}
		}
		all.SourceUIDs = slices.Concat(all.SourceUIDs, data.SourceUIDs)
		all.DestUIDs = slices.Concat(all.DestUIDs, data.DestUIDs)
	}
	for _, part := range splitSet(uids) {
		cmd := &command{name: "UID " + verb, encode: func(e *imapwire.Encoder) {
			encodeName(e.Atom("UID").SP().Atom(verb).SP().NumSet(part).SP(), mailbox)
		}}
		// RFC 6851 section 4.3: MOVE tells in an untagged OK.
		cmd.data = func(r imapwire.Response) (bool, error) {
			if r.Status == nil || r.Status.Code != "COPYUID" {
				return false, nil
			}
			collect(r.Status)
			return true, nil
		}
		status, err := c.do(ctx, cmd)
		if err != nil {
			return all, err
		}
		collect(status)
	}
	return all, nil
}
