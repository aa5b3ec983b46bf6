package imapwire

// closesQuoted reports whether a quote before c ends its string.
func closesQuoted(c byte) bool {
	switch c {
	case ' ', '\t', ')', ']', '>', '\r', '\n':
		return true
	}
	return false
}

// quotedBytes reads a quoted string, from its opening quote on. The bytes are
// valid until the next read.
//
// A quote that the server failed to escape is told from the closing one by what
// follows it: the closing one stands before a space, a closing bracket or the
// line's end. Likewise a backslash before anything but a quote or a backslash
// is taken for one that should have been doubled. See doubt for when this goes
// wrong.
func (d *Decoder) quotedBytes() ([]byte, error) {
	d.r++
	d.buf.scratch = d.buf.scratch[:0]
	for {
		if d.r == d.w {
			if err := d.fill(); err != nil {
				return nil, err
			}
		}
		i := d.r
		for i < d.w && inQuoted[d.buf.window[i]] {
			i++
		}
		run := d.buf.window[d.r:i]
		d.r = i
		if i+1 < d.w && len(d.buf.scratch) == 0 && d.buf.window[i] == '"' && closesQuoted(d.buf.window[i+1]) {
			d.r++
			return d.bounded(run) // all of it in the window: no copy
		}
		d.store(run)
		if i == d.w {
			continue
		}
		if closed, err := d.quotedSpecial(); err != nil {
			return nil, err
		} else if closed {
			return d.bounded(d.buf.scratch)
		}
	}
}

// quotedSpecial reads a quote, a backslash or a line's end within a quoted string.
func (d *Decoder) quotedSpecial() (closed bool, err error) {
	c := d.buf.window[d.r]
	if c == '\r' || c == '\n' {
		return false, d.syntaxError("a closing quote")
	}
	d.r++
	after, err := d.peek()
	if err != nil {
		return false, err
	}
	if c == '"' && closesQuoted(after) {
		return true, nil
	}
	if c == '"' {
		d.doubt.quote = true
	}
	if c == '\\' && (after == '"' || after == '\\') {
		d.r++
		c = after
	}
	d.store([]byte{c})
	return false, nil
}
