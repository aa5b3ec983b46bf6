package imapwire

import (
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

const (
	// maxQuoted is the length up to which a string is quoted. Longer ones go as
	// literals, for servers bound the length of a line (RFC 2683 section 3.2.1.5).
	maxQuoted = 1000
	// maxLiteralMinus is the longest literal that LITERAL- lets a client send
	// unasked (RFC 7888 section 5).
	maxLiteralMinus = 4096
)

// EncodeError says that a command cannot be written: a value has no form that
// IMAP could carry. It names the value's kind, never the value.
type EncodeError struct {
	Message string
}

func (e *EncodeError) Error() string { return "imapwire: cannot encode: " + e.Message }

// Encoder builds commands in memory, any number of them in a row.
//
// Its methods return the Encoder to be chained; an error is kept and returned by
// Segments. No value can end its string, let alone the command: what does not
// fit a quoted string becomes a literal, and what does not fit a literal (NUL)
// is an error. Atoms that are not constants are checked.
type Encoder struct {
	// UTF8 allows UTF-8 in quoted strings and mailbox names; it takes UTF8=ACCEPT
	// or IMAP4rev2 to be enabled.
	UTF8 bool
	// LiteralPlus sends literals of any size unasked (LITERAL+, RFC 7888).
	LiteralPlus bool
	// LiteralMinus sends literals up to 4,096 bytes unasked (LITERAL-, RFC 7888,
	// part of IMAP4rev2).
	LiteralMinus bool

	buf  []byte
	cuts []cut
	err  error
}

// cut is a place in buf where a segment ends.
type cut struct {
	at     int
	sync   bool // the next segment waits
	reader io.Reader
	size   int64
}

// Reset empties the Encoder and overwrites its buffer, which may have held a
// password.
func (e *Encoder) Reset() {
	clear(e.buf)
	e.buf, e.cuts, e.err = e.buf[:0], nil, nil
}

// Err returns the first error.
func (e *Encoder) Err() error { return e.err }

// Segments returns what was built, to be written in order.
func (e *Encoder) Segments() ([]Segment, error) {
	if e.err != nil {
		return nil, e.err
	}
	segments := make([]Segment, 0, len(e.cuts)+1)
	from, sync := 0, false
	for _, c := range e.cuts {
		segments = append(segments, Segment{Sync: sync, Bytes: e.buf[from:c.at:c.at], Reader: c.reader, Size: c.size})
		from, sync = c.at, c.sync
	}
	if from < len(e.buf) || sync {
		segments = append(segments, Segment{Sync: sync, Bytes: e.buf[from:]})
	}
	return segments, nil
}

func (e *Encoder) fail(message string) *Encoder {
	if e.err == nil {
		e.err = &EncodeError{Message: message}
	}
	return e
}

// Command starts a command.
func (e *Encoder) Command(tag, name string) *Encoder {
	return e.Atom(tag).SP().raw(name)
}

// End ends a command.
func (e *Encoder) End() *Encoder { return e.raw("\r\n") }

// Line writes a line as it is, such as DONE or an answer of SASL. It must hold
// no line end.
func (e *Encoder) Line(s string) *Encoder {
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return e.fail("a line with a control character")
		}
	}
	return e.raw(s).End()
}

// raw writes s, a constant or something that was checked.
func (e *Encoder) raw(s string) *Encoder {
	e.buf = append(e.buf, s...)
	return e
}

// SP writes a space.
func (e *Encoder) SP() *Encoder { return e.raw(" ") }

// Special writes a character of the grammar, such as a bracket.
func (e *Encoder) Special(c byte) *Encoder {
	if c < ' ' || c >= 0x7f {
		return e.fail("a control character")
	}
	e.buf = append(e.buf, c)
	return e
}

// isStrictAtomByte is ATOM-CHAR of RFC 9051 section 9.
func isStrictAtomByte(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']':
		return false
	}
	return c > ' ' && c < 0x7f
}

// Atom writes an atom.
func (e *Encoder) Atom(s string) *Encoder {
	if s == "" {
		return e.fail("an empty atom")
	}
	for i := range len(s) {
		if !isStrictAtomByte(s[i]) {
			return e.fail("an atom with a special character")
		}
	}
	return e.raw(s)
}

// NIL writes NIL.
func (e *Encoder) NIL() *Encoder { return e.raw("NIL") }

// Number writes a number.
func (e *Encoder) Number(n uint32) *Encoder { return e.ModSeq(uint64(n)) }

// Number64 writes a number, which must not be negative.
func (e *Encoder) Number64(n int64) *Encoder {
	if n < 0 {
		return e.fail("a negative number")
	}
	return e.ModSeq(uint64(n))
}

// ModSeq writes a number of 64 bits.
func (e *Encoder) ModSeq(n uint64) *Encoder {
	e.buf = strconv.AppendUint(e.buf, n, 10)
	return e
}

// UID writes a UID.
func (e *Encoder) UID(uid imap.UID) *Encoder { return e.Number(uint32(uid)) }

// NumSet writes a set, which must not be empty.
func (e *Encoder) NumSet(set imap.NumSet) *Encoder {
	s := set.String()
	if s == "" {
		return e.fail("an empty set")
	}
	return e.raw(s)
}

// String writes a string: quoted if it may be, else as a literal.
func (e *Encoder) String(s string) *Encoder {
	if !e.quotable(s) {
		return e.literalString(s)
	}
	e.buf = append(e.buf, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			e.buf = append(e.buf, '\\')
		}
		e.buf = append(e.buf, s[i])
	}
	e.buf = append(e.buf, '"')
	return e
}

// NString writes a string, or NIL for the empty one.
func (e *Encoder) NString(s string) *Encoder {
	if s == "" {
		return e.NIL()
	}
	return e.String(s)
}

func (e *Encoder) quotable(s string) bool {
	if len(s) > maxQuoted {
		return false
	}
	ascii := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	return ascii || e.UTF8 && utf8.ValidString(s)
}

// literalString writes s as a literal.
func (e *Encoder) literalString(s string) *Encoder {
	for i := range len(s) {
		if s[i] == 0 {
			return e.fail("a string with a NUL") // CHAR8 of RFC 9051 section 9
		}
	}
	e.announce("", int64(len(s)))
	return e.raw(s)
}

// Literal writes a literal of size bytes that is read from r when its segment is
// written.
func (e *Encoder) Literal(r io.Reader, size int64) *Encoder { return e.stream("", r, size) }

// Literal8 is Literal for data that may hold NUL, as in APPEND with BINARY
// (RFC 3516 section 4.4) or UTF8 (RFC 6855 section 4).
func (e *Encoder) Literal8(r io.Reader, size int64) *Encoder { return e.stream("~", r, size) }

func (e *Encoder) stream(prefix string, r io.Reader, size int64) *Encoder {
	if size < 0 {
		return e.fail("a literal of negative size")
	}
	e.announce(prefix, size)
	e.cuts = append(e.cuts, cut{at: len(e.buf), reader: r, size: size})
	return e
}

// announce writes "{n}", or "{n+}" where the server need not be asked.
func (e *Encoder) announce(prefix string, size int64) {
	unasked := e.LiteralPlus || e.LiteralMinus && size <= maxLiteralMinus
	e.raw(prefix).raw("{").Number64(size)
	if unasked {
		e.raw("+")
	}
	e.raw("}\r\n")
	if !unasked {
		e.cuts = append(e.cuts, cut{at: len(e.buf), sync: true})
	}
}

// Flag writes a flag or a keyword.
func (e *Encoder) Flag(flag imap.Flag) *Encoder {
	return e.flagLike(string(flag))
}

// flagLike writes an atom that may start with a backslash.
func (e *Encoder) flagLike(s string) *Encoder {
	if len(s) > 1 && s[0] == '\\' {
		return e.raw(`\`).Atom(s[1:])
	}
	return e.Atom(s)
}

// Flags writes a list of flags.
func (e *Encoder) Flags(flags []imap.Flag) *Encoder {
	return e.List(len(flags), func(i int) { e.Flag(flags[i]) })
}

// Attr writes a mailbox attribute, such as \Sent.
func (e *Encoder) Attr(attr imap.MailboxAttr) *Encoder { return e.flagLike(string(attr)) }

// List writes a list of n members; f writes the i-th.
func (e *Encoder) List(n int, f func(i int)) *Encoder {
	e.raw("(")
	for i := range n {
		if i > 0 {
			e.SP()
		}
		f(i)
	}
	return e.raw(")")
}

// Mailbox writes the name of a mailbox, given in UTF-8.
func (e *Encoder) Mailbox(name string) *Encoder {
	if isINBOX(name) {
		return e.raw("INBOX")
	}
	if !e.UTF8 {
		name = EncodeUTF7(name)
	}
	return e.String(name)
}

// RawMailbox writes the name of a mailbox exactly as a server wrote it, see
// ListData.RawName. It is the way to name a mailbox whose name is in no valid
// encoding.
func (e *Encoder) RawMailbox(raw string) *Encoder { return e.String(raw) }

// dateLayout is date of RFC 9051 section 9.
const dateLayout = "2-Jan-2006"

// dateTimeLayout is the layout of date-time: the day is padded with a space.
const dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"

// Date writes a date.
func (e *Encoder) Date(t time.Time) *Encoder {
	if y := t.Year(); y < 0 || y > 9999 {
		return e.fail("a date beyond the year 9999")
	}
	e.buf = t.AppendFormat(e.buf, dateLayout)
	return e
}

// DateTime writes a date with time and zone in quotes, as APPEND takes it.
func (e *Encoder) DateTime(t time.Time) *Encoder {
	if y := t.Year(); y < 0 || y > 9999 {
		return e.fail("a date beyond the year 9999")
	}
	e.buf = append(e.buf, '"')
	e.buf = t.AppendFormat(e.buf, dateTimeLayout)
	e.buf = append(e.buf, '"')
	return e
}
