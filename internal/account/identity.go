package account

import (
	"context"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// BestIdentityScheme chooses how the email_id is found on a server with these
// capabilities. The choice is made once per account and pinned, so that the ids
// do not change when a server learns something new.
func BestIdentityScheme(caps imap.CapSet) IdentityScheme {
	switch {
	case caps.Has(imap.CapObjectID):
		return IdentityEmailID
	case caps.Has("X-GM-EXT-1"):
		return IdentityGmail
	}
	return IdentityFingerprint
}

// IdentityItems adds to a FETCH what [Account.EmailID] needs of the answer.
func (a *Account) IdentityItems(opts *imapconn.FetchOptions) {
	switch a.IdentityScheme {
	case IdentityEmailID:
		opts.EmailID = true
	case IdentityGmail:
		opts.GmailMsgID = true
	default:
		opts.Envelope, opts.RFC822Size = true, true
	}
}

// EmailID is what tells the mail from all other mail of the account, wherever
// it is moved or copied. envelope is the message's, as [ReadEnvelopes] gives it.
// The id is empty when the answer lacks what it is made of.
func (a *Account) EmailID(m *imapconn.FetchMessage, envelope *message.Envelope) string {
	switch a.IdentityScheme {
	case IdentityEmailID:
		return m.EmailID
	case IdentityGmail:
		if m.GmailMsgID == 0 {
			return ""
		}
		return strconv.FormatUint(m.GmailMsgID, 16)
	}
	if envelope == nil {
		return ""
	}
	var key [32]byte
	copy(key[:], a.IdentityKey.Reveal())
	return envelope.Fingerprint(key, m.Size)
}

// ReadEnvelopes gives the envelopes of messages whose ENVELOPE was fetched from
// the open mailbox. Where the server told it so badly that nothing is in it, the
// message's header is read instead, in one more round trip.
func ReadEnvelopes(ctx context.Context, conn *imapconn.Conn, list []*imapconn.FetchMessage) (map[imap.UID]*message.Envelope, error) {
	envelopes := make(map[imap.UID]*message.Envelope, len(list))
	var broken imap.UIDSet
	for _, m := range list {
		switch {
		case m.IsBroken("ENVELOPE") || m.Envelope != nil && emptyEnvelope(m.Envelope):
			broken.AddNum(m.UID)
		case m.Envelope != nil: // else it was not asked for
			e, _ := message.EnvelopeOf(m.Envelope)
			envelopes[m.UID] = &e
		}
	}
	if len(broken) == 0 {
		return envelopes, nil
	}
	header := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	opts := &imapconn.FetchOptions{}
	opts.BodySection = []*imap.FetchItemBodySection{header}
	err := conn.Fetch(ctx, broken, opts, func(m *imapconn.FetchMessage) error {
		if block, ok := m.Section(header); ok {
			e, _ := message.ParseHeader(block).Envelope()
			envelopes[m.UID] = &e
		}
		return nil
	})
	return envelopes, err
}

func emptyEnvelope(e *imap.Envelope) bool {
	return len(e.From) == 0 && e.Subject == "" && e.MessageID == "" && e.Date.IsZero()
}
