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
