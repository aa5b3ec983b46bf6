package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// ThreadNode is a message of a thread, in a flat list. Its Num is a UID, or 0 for
// a parent that is not in the mailbox.
type ThreadNode = imapwire.ThreadNode

// Thread returns the messages that match, by UID, as threads (RFC 5256). It
// fails if the server lacks the algorithm.
func (c *Conn) Thread(ctx context.Context, algorithm imap.ThreadAlgorithm, criteria *SearchCriteria) ([]ThreadNode, error) {
	if err := c.canSort("THREAD", imap.Cap("THREAD="+string(algorithm))); err != nil {
		return nil, err
	}
	var threads []ThreadNode
	read := exactly("THREAD", func(imapwire.Response) (err error) {
		threads, err = c.dec.Thread()
		return err
	})
	cmd := &command{name: "UID THREAD", data: read, encode: func(e *imapwire.Encoder) {
		e.Atom("UID").SP().Atom("THREAD").SP().Atom(string(algorithm)).SP()
		e.Atom(charset(criteria)).SP().SearchCriteria(criteria)
	}}
	if _, err := c.do(ctx, cmd); err != nil {
		return nil, badCharset(err, criteria)
	}
	if threads == nil && cmd.malformed != nil {
		return nil, &ProtocolError{Command: "THREAD", Err: cmd.malformed}
	}
	return threads, nil
}
