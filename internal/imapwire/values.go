package imapwire

// ReadList reads a parenthesised list. It calls f in front of each member; f
// must consume it.
func (d *Decoder) ReadList(f func() error) error {
	if err := d.openList(); err != nil {
		return err
	}
	return d.members(f)
}

// ReadNList is ReadList for a list that may be NIL. A string or another atom in
// place of the list is skipped: to some servers an empty list is "".
func (d *Decoder) ReadNList(f func() error) error {
	c, err := d.next()
	if err != nil {
		return err
	}
	if c == '(' {
		return d.ReadList(f)
	}
	_, _, err = d.stringBytes()
	return err
}

// openList consumes an opening parenthesis.
func (d *Decoder) openList() error {
	if err := d.expect('('); err != nil {
		return err
	}
	d.depth++
	if d.depth > d.limits.Depth {
		return d.limitError("Depth", int64(d.limits.Depth))
	}
	return nil
}

// closeList consumes a closing parenthesis, if one is next.
func (d *Decoder) closeList() (bool, error) {
	closed, err := d.accept(')')
	if closed {
		d.depth--
	}
	return closed, err
}

// members reads the members of an open list and closes it. On an error the list
// stays open, see leave.
func (d *Decoder) members(f func() error) error {
	for {
		if closed, err := d.closeList(); err != nil || closed {
			return err
		}
		if err := d.countElement(); err != nil {
			return err
		}
		at := d.pos + int64(d.r)
		if err := f(); err != nil {
			return err
		}
		if d.pos+int64(d.r) == at {
			return d.syntaxError("a member of a list")
		}
	}
}

// skipMembers skips what is left of an open list and closes it.
func (d *Decoder) skipMembers() error { return d.members(d.SkipValue) }

func (d *Decoder) countElement() error {
	d.elements++
	if d.elements > d.limits.Elements {
		return d.limitError("Elements", int64(d.limits.Elements))
	}
	return nil
}

// atEnd reports whether the line holds nothing more.
func (d *Decoder) atEnd() (bool, error) {
	c, err := d.next()
	return c == '\r' || c == '\n', err
}

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
