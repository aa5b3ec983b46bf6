package imapwire

// objectID reads the identifier of EMAILID, THREADID or MAILBOXID: an objectid
// in parentheses, or NIL (RFC 8474 section 7). It has been seen without the
// parentheses.
func (d *Decoder) objectID() (string, error) {
	c, err := d.next()
	if err != nil {
		return "", err
	}
	if c != '(' {
		id, _, err := d.NString()
		return id, err
	}
	if err := d.openList(); err != nil {
		return "", err
	}
	if closed, err := d.closeList(); err != nil || closed {
		return "", err
	}
	id, _, err := d.NString()
	if err != nil {
		return "", err
	}
	return id, d.skipMembers()
}
