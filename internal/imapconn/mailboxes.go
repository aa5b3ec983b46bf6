package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Create makes a mailbox (RFC 9051 section 6.3.4), with special uses where the
// server has CREATE-SPECIAL-USE (RFC 6154 section 3). The identifier that the
// server gives it (RFC 8474 section 4.1) is returned if there is one.
func (c *Conn) Create(ctx context.Context, name string, uses ...imap.MailboxAttr) (mailboxID string, err error) {
	if len(uses) > 0 && !c.Has(imap.CapCreateSpecialUse) {
		return "", &CapabilityError{Command: "CREATE", Cap: imap.CapCreateSpecialUse}
	}
	status, err := c.do(ctx, &command{name: "CREATE", encode: func(e *imapwire.Encoder) {
		encodeName(e.Atom("CREATE").SP(), name)
		if len(uses) > 0 {
			e.SP().Special('(').Atom("USE").SP()
			e.List(len(uses), func(i int) { e.Attr(uses[i]) }).Special(')')
		}
	}})
	if err != nil {
		return "", err
	}
	id, _ := status.MailboxID()
	return id, nil
}

// Rename gives a mailbox another name, and with it all below it (RFC 9051
// section 6.3.6). INBOX keeps existing: its messages move.
func (c *Conn) Rename(ctx context.Context, from, to string) error {
	_, err := c.do(ctx, &command{name: "RENAME", encode: func(e *imapwire.Encoder) {
		encodeName(encodeName(e.Atom("RENAME").SP(), from).SP(), to)
	}})
	return err
}

// Delete removes a mailbox with its messages (RFC 9051 section 6.3.5).
func (c *Conn) Delete(ctx context.Context, name string) error {
	return c.onMailbox(ctx, "DELETE", name)
}

// Subscribe puts a mailbox on the user's list (RFC 9051 section 6.3.7).
func (c *Conn) Subscribe(ctx context.Context, name string) error {
	return c.onMailbox(ctx, "SUBSCRIBE", name)
}

// Unsubscribe takes a mailbox off the user's list (RFC 9051 section 6.3.8).
func (c *Conn) Unsubscribe(ctx context.Context, name string) error {
	return c.onMailbox(ctx, "UNSUBSCRIBE", name)
}

// onMailbox runs a command whose only argument is a mailbox.
func (c *Conn) onMailbox(ctx context.Context, verb, name string) error {
	_, err := c.do(ctx, &command{name: verb, encode: func(e *imapwire.Encoder) {
		encodeName(e.Atom(verb).SP(), name)
	}})
	return err
}
