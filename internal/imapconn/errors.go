package imapconn

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Error is a server's refusal of one command, NO or BAD (RFC 9051 section
// 7.1). The connection stays usable. [errors.As] also finds an [imap.Error] in
// it.
type Error struct {
	// Command is the command that was refused, such as "SELECT".
	Command string
	Type    imap.StatusResponseType
	// Code is the response code, in upper case, or empty; CodeArgs is the raw
	// text that follows it inside the brackets.
	Code     imap.ResponseCode
	CodeArgs string
	// Text is the server's explanation for people.
	Text string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Command)
	b.WriteString(": ")
	b.WriteString(string(e.Type))
	if e.Code != "" {
		b.WriteString(" [" + string(e.Code))
		if e.CodeArgs != "" {
			b.WriteString(" " + e.CodeArgs)
		}
		b.WriteString("]")
	}
	if e.Text != "" {
		b.WriteString(" " + e.Text)
	}
	return b.String()
}

// Unwrap returns the refusal in go-imap's form.
func (e *Error) Unwrap() error {
	return &imap.Error{Type: e.Type, Code: e.Code, Text: e.Text}
}

// AuthError says that the server did not let the user in: it refused the
// credentials, or it offers no mechanism that may be used. Trying again with
// the same configuration is of no use. What is only a momentary refusal (a
// limit, an unavailable backend) is an [*Error] or a [*ByeError] instead.
type AuthError struct {
	// Mechanism is the last mechanism that was tried, or empty.
	Mechanism string
	// Err is the server's answer, or the reason why nothing was tried.
	Err error
}

func (e *AuthError) Error() string {
	if e.Mechanism == "" {
		return "login: " + e.Err.Error()
	}
	return "login by " + e.Mechanism + ": " + e.Err.Error()
}

// Unwrap returns the server's answer.
func (e *AuthError) Unwrap() error { return e.Err }

// TLSError says that the connection could not be made confidential: the
// handshake failed, the certificate is not to be trusted, or the server refuses
// STARTTLS.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return "TLS: " + e.Err.Error() }

// Unwrap returns the cause, such as a [crypto/tls.CertificateVerificationError].
func (e *TLSError) Unwrap() error { return e.Err }

// ByeError says that the server ended the session, with its reason (RFC 9051
// section 7.1.5). The connection is closed.
type ByeError struct {
	// Command is what was going on, such as "greeting" or "FETCH".
	Command  string
	Code     imap.ResponseCode
	CodeArgs string
	Text     string
}

func (e *ByeError) Error() string {
	s := e.Command + ": the server said BYE"
	if e.Code != "" {
		s += " [" + string(e.Code) + "]"
	}
	if e.Text != "" {
		s += " " + e.Text
	}
	return s
}

// Unwrap returns the reason in go-imap's form.
func (e *ByeError) Unwrap() error {
	return &imap.Error{Type: imap.StatusResponseTypeBye, Code: e.Code, Text: e.Text}
}

// ProtocolError says that the server sent what cannot be IMAP or what exceeds
// the bounds of this client, which closes the connection; or that it completed
// a command without the answer to it, which does not.
type ProtocolError struct {
	Command string
	Err     error
}

func (e *ProtocolError) Error() string { return e.Command + ": protocol error: " + e.Err.Error() }

// Unwrap returns the cause, such as an imapwire.SyntaxError or LimitError.
func (e *ProtocolError) Unwrap() error { return e.Err }

// TimeoutError says that the server was silent for too long. The connection is
// closed.
type TimeoutError struct {
	Command string
	// Silence is how long the server was waited for.
	Silence time.Duration
	Err     error
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: no answer from the server within %s", e.Command, e.Silence)
}

// Unwrap returns the network's error.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Timeout returns true, as [net.Error] has it.
func (e *TimeoutError) Timeout() bool { return true }

// CanceledError says that the caller's context ended in the midst of a command.
// It wraps the context's error. The connection is closed, because what the
// server made of the command is unknown.
type CanceledError struct {
	Command string
	Err     error
}

func (e *CanceledError) Error() string { return e.Command + ": " + e.Err.Error() }

// Unwrap returns the context's error.
func (e *CanceledError) Unwrap() error { return e.Err }

// NetworkError says that the network failed: no connection, a reset, the end of
// the stream without BYE. The connection is closed.
type NetworkError struct {
	Command string
	Err     error
}

func (e *NetworkError) Error() string { return e.Command + ": " + e.Err.Error() }

// Unwrap returns the network's error.
func (e *NetworkError) Unwrap() error { return e.Err }

// ClosedError says that a command was given to a connection that is closed. It
// wraps what closed it, or [net.ErrClosed].
type ClosedError struct{ Err error }

func (e *ClosedError) Error() string {
	if errors.Is(e.Err, net.ErrClosed) {
		return "the connection is closed"
	}
	return "the connection is closed since: " + e.Err.Error()
}

// Unwrap returns what closed the connection.
func (e *ClosedError) Unwrap() error { return e.Err }

// CapabilityError says that the server lacks what a call needs; nothing was
// sent.
type CapabilityError struct {
	Command string
	// Cap is the missing capability.
	Cap imap.Cap
}

func (e *CapabilityError) Error() string {
	return e.Command + ": the server does not have " + string(e.Cap)
}

// StateError says that a call does not fit the state of the connection, such as
// FETCH with no mailbox selected; nothing was sent.
type StateError struct {
	Command string
	Reason  string
}

func (e *StateError) Error() string { return e.Command + ": " + e.Reason }

// errLoggedOut is why a connection is closed that was not broken.
var errLoggedOut = errors.New("logged out")
