package imapwire

// SkipValue skips one value of any shape: an atom, a string, a literal, a list
// with whatever it holds.
func (d *Decoder) SkipValue() error {
	if c, err := d.next(); err != nil {
		return err
	} else if c == ')' {
		return d.syntaxError("a value")
	}
	base := d.depth
	for {
		if err := d.skipToken(); err != nil {
			return err
		}
		if d.depth == base {
			return nil
		}
	}
}

// skipToken skips a bracket, an atom, a string or a literal. A closing bracket
// must have an open list to close. The depth of lists needs no bound here since
// nothing recurses.
func (d *Decoder) skipToken() error {
	c, err := d.next()
	if err != nil {
		return err
	}
	switch c {
	case '(':
		d.r++
		d.depth++
		return nil
	case ')':
		d.r++
		d.depth--
		return nil
	case '{', '~':
		isLiteral, err := d.openLiteral()
		if err != nil {
			return err
		}
		if isLiteral {
			return d.drainLiteral()
		}
	case '"':
		_, err := d.quotedBytes()
		return err
	case '\r', '\n':
		return d.syntaxError("a value")
	}
	// An atom cannot be empty here: what no atom starts with was dealt with,
	// except for control characters, which are skipped one by one.
	if !isAtomByte(c) {
		d.r++
		return nil
	}
	_, err = d.span(&inAtom)
	return err
}

// leave skips to the end of the list that made the depth more than base, after
// something in it could not be read.
func (d *Decoder) leave(base int) error {
	if err := d.drainLiteral(); err != nil {
		return err
	}
	for d.depth > base {
		if err := d.skipToken(); err != nil {
			return err
		}
	}
	return nil
}

// Finish skips what is left of the current response, if only its line end. Next
// and Wait do so by themselves; it is for looking at Buffered, and for Release,
// after data that may be the last for a while.
func (d *Decoder) Finish() error {
	if d.err != nil {
		return d.err
	}
	if !d.inLine {
		return nil
	}
	return d.SkipLine()
}

// SkipLine skips to the end of the response, from wherever reading it stopped.
// An open literal is drained. Then text is skipped to the next line end; if the
// text before it ends in the announcement of a literal, that literal is skipped
// and its line goes on.
func (d *Decoder) SkipLine() error {
	if err := d.drainLiteral(); err != nil {
		return err
	}
	for {
		size, isLiteral, err := d.skipText()
		if err != nil {
			return err
		}
		if !isLiteral {
			d.inLine = false
			return nil
		}
		if err := d.beginLiteral(size); err != nil {
			return err
		}
		if err := d.drainLiteral(); err != nil {
			return err
		}
	}
}

// skipText skips to the next line end and reports whether a literal's
// announcement stands before it.
func (d *Decoder) skipText() (size uint64, isLiteral bool, err error) {
	var a announcement
	for {
		if _, err := d.peek(); err != nil {
			return 0, false, err
		}
		for i, c := range d.buf.window[d.r:d.w] {
			if c == '\n' {
				d.r += i + 1
				return a.size, a.complete(), nil
			}
			if a.state != 0 || c == '{' {
				a.push(c)
			}
		}
		d.r = d.w
	}
}

// announcement recognises "{n}" or "{n+}" at the end of a text that is fed to it
// byte by byte.
type announcement struct {
	state byte // what was seen last of it: 0, '{', '0' (digits), '+', '}' or '\r'
	size  uint64
}

func (a *announcement) push(c byte) {
	switch {
	case c == '{':
		*a = announcement{state: '{'}
	case isDigit(c) && (a.state == '{' || a.state == '0'):
		a.state = '0'
		if a.size < 1<<59 { // beyond any limit, short of overflow
			a.size = a.size*10 + uint64(c-'0')
		}
	case c == '+' && a.state == '0':
		a.state = '+'
	case c == '}' && (a.state == '0' || a.state == '+'):
		a.state = '}'
	case c == '\r' && a.state == '}':
		a.state = '\r'
	default:
		a.state = 0
	}
}

// complete reports whether a line end now makes it the announcement of a literal.
func (a *announcement) complete() bool { return a.state == '}' || a.state == '\r' }
