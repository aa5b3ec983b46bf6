package imapwire

// byteClass is a set of bytes, as a table since every byte that is read is
// looked up in one.
type byteClass [256]bool

func classOf(has func(c byte) bool) (class byteClass) {
	for c := range class {
		class[c] = has(byte(c))
	}
	return class
}

var (
	// inAtom is laxer than ATOM-CHAR: flags and labels with brackets, braces,
	// wildcards and raw 8-bit names are seen; only what delimits tokens ends one.
	inAtom = classOf(isAtomByte)
	// inQuoted is what stands for itself in a quoted string.
	inQuoted = classOf(func(c byte) bool { return c != '"' && c != '\\' && c != '\r' && c != '\n' })
	// inHead is the first word of a line: a tag, "*" or "+".
	inHead = classOf(func(c byte) bool { return c > ' ' })
	// inName is the name of a response. "* OK[ALERT]" has been seen.
	inName = classOf(func(c byte) bool { return isAtomByte(c) && c != '[' && c != '{' })
	// inText is everything up to the line's end.
	inText = classOf(func(c byte) bool { return c != '\n' })
	// inItem is the name of an item of FETCH.
	inItem = classOf(func(c byte) bool { return isAtomByte(c) && c != '[' })
	// inSpec is the inside of a section, up to a list in it.
	inSpec = classOf(func(c byte) bool { return isAtomByte(c) && c != ']' })
)

func isAtomByte(c byte) bool {
	return c > ' ' && c != '(' && c != ')' && c != '"' && c != 0x7f
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
