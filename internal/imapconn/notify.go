package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// NotifyEvent is something that NOTIFY can tell (RFC 5465 section 5).
type NotifyEvent string

// The events of messages and of mailboxes.
const (
	NotifyMessageNew         NotifyEvent = "MessageNew"
	NotifyMessageExpunge     NotifyEvent = "MessageExpunge"
	NotifyFlagChange         NotifyEvent = "FlagChange"
	NotifyMailboxName        NotifyEvent = "MailboxName"
	NotifySubscriptionChange NotifyEvent = "SubscriptionChange"
)

// NotifyScope says which mailboxes are meant (RFC 5465 section 6).
type NotifyScope string

// The scopes of NOTIFY. The last two go with names.
const (
	NotifySelected        NotifyScope = "SELECTED"
	NotifySelectedDelayed NotifyScope = "SELECTED-DELAYED"
	NotifyInboxes         NotifyScope = "INBOXES"
	NotifyPersonal        NotifyScope = "PERSONAL"
	NotifySubscribed      NotifyScope = "SUBSCRIBED"
	NotifySubtree         NotifyScope = "SUBTREE"
	NotifyMailboxes       NotifyScope = "MAILBOXES"
)

// NotifyGroup says what is to be told of some mailboxes.
type NotifyGroup struct {
	Scope NotifyScope
	// Names are the mailboxes, for NotifySubtree and NotifyMailboxes.
	Names []string
	// Events are what is told; none means that these mailboxes are left out.
	// MessageNew and MessageExpunge go together, and FlagChange goes with both
	// (RFC 5465 section 5).
	Events []NotifyEvent
	// Fetch, for NotifySelected and MessageNew, says what to send of new
	// messages. What comes counts as a hint only.
	Fetch *FetchOptions
}

// Notify asks the server to tell of changes in other mailboxes too (RFC 5465).
// They then show in Updates; Idle waits for them. Each call takes the place of
// the one before, and without groups nothing is told any more, not even what
// servers tell without NOTIFY. It fails without the capability.
//
// A server that refuses goes on as it was. What it refuses differs: names of
// mailboxes in large number, events (BADEVENT), or all of it, by NO or BAD.
//
// With status the server begins by telling the state of each mailbox that is
// watched and not selected; the states are returned.
func (c *Conn) Notify(ctx context.Context, status bool, groups ...NotifyGroup) ([]*StatusData, error) {
	if c.usable() == nil && !c.Has(imap.CapNotify) {
		return nil, &CapabilityError{Command: "NOTIFY", Cap: imap.CapNotify}
	}
	var states []*StatusData
	read := exactly("STATUS", func(imapwire.Response) error {
		data, err := c.dec.Status()
		if err == nil && len(states) < maxMailboxes {
			states = append(states, data)
		}
		return err
	})
	_, err := c.do(ctx, &command{name: "NOTIFY", data: read, encode: func(e *imapwire.Encoder) {
		e.Atom("NOTIFY").SP()
		if len(groups) == 0 {
			e.Atom("NONE")
			return
		}
		e.Atom("SET")
		if status {
			e.SP().Atom("STATUS")
		}
		for i := range groups {
			e.SP()
			c.encodeNotifyGroup(e, &groups[i])
		}
	}})
	if err == nil {
		c.notifying = len(groups) > 0
	}
	return states, err
}

// encodeNotifyGroup writes event-group of RFC 5465 section 8.
func (c *Conn) encodeNotifyGroup(e *imapwire.Encoder, g *NotifyGroup) {
	e.Special('(').Atom(string(g.Scope)).SP()
	if len(g.Names) > 0 {
		e.List(len(g.Names), func(i int) { encodeName(e, g.Names[i]) }).SP()
	}
	if len(g.Events) == 0 {
		e.Atom("NONE").Special(')')
		return
	}
	e.List(len(g.Events), func(i int) {
		e.Atom(string(g.Events[i]))
		if g.Events[i] == NotifyMessageNew && g.Fetch != nil {
			e.SP().FetchItems(c.available(g.Fetch, false))
		}
	}).Special(')')
}
