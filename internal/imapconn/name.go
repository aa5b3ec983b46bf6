package imapconn

import (
	"strings"

	"github.com/postern-mail/postern/internal/imapwire"
)

// rawMark begins a name that is in the server's own bytes. No mailbox name can
// hold a NUL (RFC 9051 section 9, astring).
const rawMark = "\x00"

// RawName returns a name for the methods of [Conn] that stands for exactly the
// bytes that the server sent, as [imapwire.ListData] keeps them. It is needed
// only for the rare mailbox whose name is in no valid encoding, so that what it
// decodes to leads elsewhere.
func RawName(raw string) string { return rawMark + raw }

func cutRaw(name string) (raw string, ok bool) { return strings.CutPrefix(name, rawMark) }

// encodeName writes a mailbox name as the methods of Conn take it.
func encodeName(e *imapwire.Encoder, name string) *imapwire.Encoder {
	if raw, ok := cutRaw(name); ok {
		return e.RawMailbox(raw)
	}
	return e.Mailbox(name)
}

// Below returns the name of a mailbox below another, or of one that begins with
// a prefix. above is a name as the methods of Conn take it, with its delimiter;
// rest is decoded. Below a name in the server's own bytes only names in such
// bytes can be: utf8 says that the server takes UTF-8 there.
func Below(above, rest string, utf8 bool) string {
	raw, ok := cutRaw(above)
	switch {
	case !ok:
		return above + rest
	case utf8:
		return RawName(raw + rest)
	}
	return RawName(raw + imapwire.EncodeUTF7(rest))
}

// sameMailbox compares names; INBOX is not case-sensitive (RFC 9051 section 5.1).
func sameMailbox(a, b string) bool {
	return a == b || strings.EqualFold(a, "INBOX") && strings.EqualFold(b, "INBOX")
}
