package imapconn

import (
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// RFC 2180 section 4.1.3 lets a server answer a FETCH of a message that another
// session has expunged as if nothing were known of it, and Dovecot does: an
// ENVELOPE of NILs, the beginning of time as INTERNALDATE. The completion then
// says [EXPUNGEISSUED] (RFC 5530 section 3). Taken for mail, such an answer is a
// message without sender and subject in a list, and in an event.

// hold keeps an answer back that may be one of those, and what comes later about
// the same message.
func (f *fetching) hold(m *FetchMessage) bool {
	if i := slices.IndexFunc(f.held, m.same); i >= 0 {
		f.held[i].merge(m)
		return true
	}
	if !f.hollow(m) {
		return false
	}
	f.held = append(f.held, m)
	f.c.mailbox.positions.held = f.held
	return true
}

// hollow reports whether an answer may be one of those. Mail that is broken can
// look the same, so the completion decides.
func (f *fetching) hollow(m *FetchMessage) bool {
	if f.solid == m {
		return false
	}
	if f.opts.InternalDate && !m.InternalDate.IsZero() && m.InternalDate.Unix() == 0 {
		return true
	}
	return f.opts.Envelope && m.Envelope != nil && emptyEnvelope(m.Envelope)
}

func emptyEnvelope(e *imap.Envelope) bool {
	return len(e.From) == 0 && len(e.To) == 0 && e.Subject == "" && e.MessageID == "" && e.Date.IsZero()
}

// settle gives the caller the hollow answers that were held back, unless the
// server says that some of the messages are gone.
func (f *fetching) settle(s *imapwire.Status) {
	held := f.held
	if len(held) == 0 {
		return
	}
	f.held, f.c.mailbox.positions.held = nil, nil
	if s.Code == "EXPUNGEISSUED" || saysGone(s) {
		return
	}
	for _, m := range held {
		if f.stopped != nil {
			return
		}
		if m.SeqNum > 0 { // else it has been expunged since
			f.stopped = f.fn(m)
		}
	}
}

// IsGone reports whether a server refused a command because some of its
// messages are gone (RFC 5530 section 3), so that it can be given again for
// those that are left.
func IsGone(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Type == imap.StatusResponseTypeNo && (refused.Code == "EXPUNGEISSUED" ||
		saysGone(&imapwire.Status{Type: refused.Type, Text: refused.Text}))
}

// saysGone reports whether a refusal is about messages that are gone, in the
// words of servers that have no code for it.
func saysGone(s *imapwire.Status) bool {
	return s.Type == imap.StatusResponseTypeNo &&
		containsAny(s.Text, []string{"no longer exist", "been expunged", "already expunged"})
}
