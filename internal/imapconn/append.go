package imapconn

import (
	"context"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// maxUnasked is the largest message that is sent without the server's go-ahead
// where LITERAL+ would allow any: a refusal of a large one should come before
// it is sent.
const maxUnasked = 256 << 10

// AppendMessage is a message to be put into a mailbox.
type AppendMessage struct {
	// Reader delivers exactly Size bytes. If it does not, the connection is
	// closed.
	Reader io.Reader
	Size   int64
	Flags  []imap.Flag
	// Time is the internal date, now if it is zero.
	Time time.Time
	// UTF8 says that the message's header has UTF-8 in it, for which UTF8=ACCEPT
	// must be enabled (RFC 6855 section 4).
	UTF8 bool
}

// AppendData says what the messages became, where the server tells (UIDPLUS).
type AppendData struct {
	UIDValidity uint32
	// UIDs are those of the messages, in order; empty if the server did not tell.
	UIDs []imap.UID
}

// Append puts messages into a mailbox (RFC 9051 section 6.3.12): all or none
// where the server has MULTIAPPEND (RFC 3502), one by one elsewhere.
func (c *Conn) Append(ctx context.Context, mailbox string, messages ...AppendMessage) (*AppendData, error) {
	for _, m := range messages {
		if m.UTF8 && c.enabled&enabledUTF8 == 0 {
			return nil, &CapabilityError{Command: "APPEND", Cap: imap.CapUTF8Accept}
		}
	}
	batch := 1
	if c.Has(imap.CapMultiAppend) {
		batch = len(messages)
	}
	all := &AppendData{}
	for len(messages) > 0 {
		if err := c.append(ctx, mailbox, messages[:batch], all); err != nil {
			return nil, err
		}
		messages = messages[batch:]
	}
	return all, nil
}

func (c *Conn) append(ctx context.Context, mailbox string, messages []AppendMessage, all *AppendData) error {
	status, err := c.do(ctx, &command{name: "APPEND", encode: func(e *imapwire.Encoder) {
		encodeName(e.Atom("APPEND").SP(), mailbox)
		unasked := e.LiteralPlus
		for i := range messages {
			e.LiteralPlus = unasked && messages[i].Size <= maxUnasked
			encodeAppend(e, &messages[i])
		}
	}})
	if err != nil {
		return err
	}
	validity, uids, ok := status.AppendUID()
	if !ok || imapwire.CountUIDs(uids) != uint64(len(messages)) {
		return nil
	}
	all.UIDValidity = validity
	for _, r := range uids {
		for uid := r.Start; ; uid++ {
			all.UIDs = append(all.UIDs, uid)
			if uid >= r.Stop {
				break
			}
		}
	}
	return nil
}

func encodeAppend(e *imapwire.Encoder, m *AppendMessage) {
	if len(m.Flags) > 0 {
		e.SP().Flags(m.Flags)
	}
	if !m.Time.IsZero() {
		e.SP().DateTime(m.Time)
	}
	source := &sourceReader{m.Reader}
	if m.UTF8 {
		e.SP().Atom("UTF8").SP().Special('(').Literal8(source, m.Size).Special(')')
		return
	}
	e.SP().Literal(source, m.Size)
}

// sourceReader marks the errors of a caller's reader, to tell them from those
// of the connection.
type sourceReader struct{ io.Reader }

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &callbackError{err}
	}
	return n, err
}
