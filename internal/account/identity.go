package account

import (
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
// it is moved or copied. It is empty when the answer lacks what it is made of.
func (a *Account) EmailID(m *imapconn.FetchMessage) string {
	switch a.IdentityScheme {
	case IdentityEmailID:
		return m.EmailID
	case IdentityGmail:
		if m.GmailMsgID == 0 {
			return ""
		}
		return strconv.FormatUint(m.GmailMsgID, 16)
	}
	if m.Envelope == nil {
		return ""
	}
	var key [32]byte
	copy(key[:], a.IdentityKey.Reveal())
	return message.Fingerprint(key, m.Envelope, m.Size)
}
