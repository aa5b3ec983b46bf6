package imapwire

// intern returns b as a string, without an allocation for what servers say in
// every second line.
func intern(b []byte) string {
	if len(b) <= maxCommon {
		if s, ok := common[string(b)]; ok {
			return s
		}
	}
	return string(b)
}

// maxCommon is the length of the longest common string.
const maxCommon = 16

var common = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{
		"", "UID", "FLAGS", "ENVELOPE", "BODYSTRUCTURE", "BODY", "INTERNALDATE", "RFC822.SIZE", "MODSEQ",
		"FETCH", "EXISTS", "EXPUNGE", "RECENT", "VANISHED", "LIST", "STATUS", "SEARCH", "ESEARCH", "OK", "NO", "BAD",
		"BYE", "EMAILID", "THREADID", "PREVIEW", "SAVEDATE", "X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS",
		`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, `\Recent`, `\*`,
		`\HasChildren`, `\HasNoChildren`, `\Noselect`, `\Noinferiors`, `\Marked`, `\Unmarked`, `\Subscribed`,
		"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "INBOX",
		"text", "TEXT", "plain", "PLAIN", "html", "HTML", "multipart", "mixed", "MIXED", "alternative", "ALTERNATIVE",
		"related", "RELATED", "signed", "report", "application", "APPLICATION", "image", "IMAGE", "message", "rfc822",
		"octet-stream", "pdf", "png", "jpeg", "gif", "boundary", "BOUNDARY", "charset", "CHARSET", "name", "NAME",
		"filename", "FILENAME", "format", "flowed", "utf-8", "UTF-8", "us-ascii", "US-ASCII", "iso-8859-1", "7bit", "7BIT", "8bit", "8BIT",
		"base64", "BASE64", "quoted-printable", "QUOTED-PRINTABLE", "binary", "attachment", "ATTACHMENT", "inline", "INLINE",
		"gmail.com", "outlook.com",
	} {
		m[s] = s
	}
	return m
}()
