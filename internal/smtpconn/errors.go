package smtpconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strings"
	"syscall"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/imapconn"
)

// Reply is what a server said to a command (RFC 5321 section 4.2).
type Reply struct {
	// Code is the reply code, 250 for a success.
	Code int
	// Enhanced is the enhanced status code (RFC 3463), such as "5.1.1", or empty.
	Enhanced string
	// Text is the server's explanation for people, bounded.
	Text string
}

// successCode is the enhanced status code that begins the text of a reply, where the
// server has ENHANCEDSTATUSCODES (RFC 2034 section 4).
var successCode = regexp.MustCompile(`^(2\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|$)`)

// accepted is the reply of a server that took a message over.
func accepted(text string) Reply {
	reply := Reply{Code: 250}
	if m := successCode.FindStringSubmatch(text); m != nil {
		reply.Enhanced, text = m[1], text[len(m[0]):]
	}
	reply.Text = clean(text)
	return reply
}

// maxReplyText bounds the words of a server that are kept.
const maxReplyText = 1000

func (r Reply) String() string {
	return strings.TrimSpace(strings.Join(strings.Fields(fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)), " "))
}

// Temporary reports whether the server may accept later what it refused now.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

func replyOf(e *smtp.SMTPError) Reply {
	reply := Reply{Code: e.Code, Text: clean(e.Message)}
	if e.EnhancedCode != smtp.EnhancedCodeNotSet && e.EnhancedCode != smtp.NoEnhancedCode {
		reply.Enhanced = fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	return reply
}

// clean makes one line of valid text of what a server said.
func clean(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	if len(text) > maxReplyText {
		text = strings.ToValidUTF8(text[:maxReplyText], "") + "…"
	}
	return text
}

// RefusedError is a server's refusal of one command.
type RefusedError struct {
	// Command is the command that was refused, such as "MAIL".
	Command string
	Reply   Reply
}

func (e *RefusedError) Error() string { return e.Command + ": " + e.Reply.String() }

// Temporary reports whether the server may accept it later.
func (e *RefusedError) Temporary() bool { return e.Reply.Temporary() }

// TooLargeError says that a message is larger than the server takes (RFC 1870);
// nothing was sent.
type TooLargeError struct{ Limit, Actual int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the message has %d bytes, and the server takes %d", e.Actual, e.Limit)
}

// ExtensionError says that a message needs what the server does not have; nothing
// was sent.
type ExtensionError struct {
	// Extension is the missing one: SMTPUTF8 or 8BITMIME.
	Extension string
	// Why says what needs it.
	Why string
}

func (e *ExtensionError) Error() string {
	return "the server does not have " + e.Extension + ": " + e.Why
}

// UncertainError says that the connection broke after the end of a message was
// sent, or while it was, and before the server's answer: the message may have been
// accepted, or not. RFC 5321 section 4.5.3.2.6 tells the sender to send again, and
// so to send twice; it is for the caller to find out.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return "the server did not say whether it accepted the message: " + e.Err.Error()
}

// Unwrap returns what broke.
func (e *UncertainError) Unwrap() error { return e.Err }

// StaleError says that a connection which was kept for the next message is gone: the
// server has closed it, or does so. Nothing was sent, and another connection may do.
type StaleError struct{ Err error }

func (e *StaleError) Error() string {
	return "the connection that was kept is gone: " + e.Err.Error()
}

// Unwrap returns what was wrong with it.
func (e *StaleError) Unwrap() error { return e.Err }

// fail gives an error its type, and notes whether the connection outlives it.
func (c *Conn) fail(ctx context.Context, command string, err error) error {
	var (
		reply *smtp.SMTPError
		auth  *imapconn.AuthError
		tls   *imapconn.TLSError
	)
	switch {
	case ctx.Err() != nil:
		err = &imapconn.CanceledError{Command: command, Err: ctx.Err()}
	case errors.As(err, &auth):
		// The reply is the server's, the type says what it means.
	case errors.As(err, &tls):
	case errors.As(err, &reply):
		// RFC 5321 section 3.8: 421 is said by a server that is about to close.
		refusal := &RefusedError{Command: command, Reply: replyOf(reply)}
		if reply.Code != serviceClosing {
			return refusal
		}
		err = refusal
	case isTimeout(err):
		err = &imapconn.TimeoutError{Command: command, Silence: c.config.commandTimeout(), Err: err}
	case isBroken(err):
		err = &imapconn.NetworkError{Command: command, Err: err}
	default:
		err = &imapconn.ProtocolError{Command: command, Err: notSMTP(err)}
	}
	c.broken = err
	_ = c.raw.Close()
	return err
}

const serviceClosing = 421

// notSMTP is an error without the line that it quotes: what other services than
// mail servers say is not for whoever may choose a host and a port.
func notSMTP(err error) error {
	var quoting textproto.ProtocolError
	if errors.As(err, &quoting) {
		return errors.New("an answer that is not SMTP")
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// isBroken tells a connection that broke from one on which something else than
// SMTP is spoken.
func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
