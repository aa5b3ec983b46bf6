package imapwire

import (
	"errors"
	"fmt"
)

// SyntaxError says that the server sent something that cannot be read. Only the
// line it stands in is lost, see Decoder.Err.
type SyntaxError struct {
	// Response names the response that was being read, such as "FETCH", or is
	// empty when its head was at fault.
	Response string
	// Want says what was due.
	Want string
	// Got is the byte that stood there instead, quoted, or what it was.
	Got string
}

func (e *SyntaxError) Error() string {
	where := ""
	if e.Response != "" {
		where = " in " + e.Response
	}
	if e.Got == "" {
		return fmt.Sprintf("imapwire: malformed response%s: want %s", where, e.Want)
	}
	return fmt.Sprintf("imapwire: malformed response%s: want %s, got %s", where, e.Want, e.Got)
}

// LimitError says that the server's answer exceeds one of the Limits.
type LimitError struct {
	// Response names the response that was being read.
	Response string
	// Limit names the field of Limits, such as "Depth".
	Limit string
	// Max is that field's value.
	Max int64
}

func (e *LimitError) Error() string {
	where := ""
	if e.Response != "" {
		where = " in " + e.Response
	}
	return fmt.Sprintf("imapwire: response%s exceeds limit %s of %d", where, e.Limit, e.Max)
}

var (
	// errLiteralClosed is returned by a literal's reader after the decoder went on.
	errLiteralClosed = errors.New("imapwire: literal read after the decoder went on")
	// errLiteralOpen is a mistake of the caller: tokens read while a literal streams.
	errLiteralOpen = errors.New("imapwire: token read while a literal is open")
)

// isTimeout reports whether a read ended because of a deadline. It asks for the
// method instead of net.Error so that this package needs no network.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
