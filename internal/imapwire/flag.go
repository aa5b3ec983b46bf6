package imapwire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Flags reads the payload of a FLAGS response: the flags of the mailbox.
func (d *Decoder) Flags() ([]imap.Flag, error) { return d.flagList() }

// flagList reads a list of flags, or NIL. System flags come out as go-imap
// spells them.
func (d *Decoder) flagList() ([]imap.Flag, error) {
	flags := []imap.Flag{} // an answer without flags is not one without an answer
	err := d.ReadNList(func() error {
		c, err := d.next()
		if err != nil {
			return err
		}
		if c == '(' {
			return d.SkipValue()
		}
		b, _, err := d.stringBytes()
		if err == nil && len(b) > 0 {
			flags = append(flags, d.flag(b))
		}
		return err
	})
	return flags, err
}

func (d *Decoder) flag(b []byte) imap.Flag {
	if f, ok := knownFlag(b); ok {
		return f
	}
	return imap.Flag(validText(d.string(b)))
}

// knownFlag spells system flags as go-imap does; flags do not depend on case
// (RFC 9051 section 2.3.2).
func knownFlag(b []byte) (f imap.Flag, ok bool) {
	for _, f := range [...]imap.Flag{
		imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft,
		imap.FlagForwarded, imap.FlagMDNSent, imap.FlagJunk, imap.FlagNotJunk, imap.FlagPhishing, imap.FlagImportant,
	} {
		if len(f) == len(b) && strings.EqualFold(string(f), string(b)) {
			return f, true
		}
	}
	return "", false
}

// attr spells known mailbox attributes as go-imap does.
func (d *Decoder) attr(b []byte) imap.MailboxAttr {
	for _, a := range [...]imap.MailboxAttr{
		imap.MailboxAttrNonExistent, imap.MailboxAttrNoInferiors, imap.MailboxAttrNoSelect,
		imap.MailboxAttrHasChildren, imap.MailboxAttrHasNoChildren, imap.MailboxAttrMarked,
		imap.MailboxAttrUnmarked, imap.MailboxAttrSubscribed, imap.MailboxAttrRemote,
		imap.MailboxAttrAll, imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrFlagged,
		imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash, imap.MailboxAttrImportant,
	} {
		if len(a) == len(b) && strings.EqualFold(string(a), string(b)) {
			return a
		}
	}
	return imap.MailboxAttr(validText(d.string(b)))
}
