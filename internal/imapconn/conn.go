package imapconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// Conn is an IMAP session. It has no goroutine of its own: a command writes,
// then reads until its completion, in the caller's goroutine. It is for one
// goroutine at a time, except for Interrupt and Close, which may be called at
// any time.
//
// A refusal by the server and a call that sent nothing leave the connection as
// it was; every other error closes it. Err tells which, and once it is not nil
// every call fails with a [*ClosedError].
type Conn struct {
	t    transport
	dec  *imapwire.Decoder
	caps *capabilities
	id   *imap.IDData // the server's, if it told

	personal *personal // nil until it was asked for
	// phantoms are listed and not there, and unlisted are there and not listed.
	phantoms, unlisted oddities

	err     error // what closed the connection
	mailbox *mailbox
	updates Updates
	idle    idling
	enabled extensions
	state   imap.ConnState
	// queued says that IDLE is to follow the next command: see QueueIdle.
	queued     bool
	compressed bool
	notifying  bool // NOTIFY is on
	// idleRenewal is the Config's.
	idleRenewal time.Duration
	lastTag     uint32
	answered    uint32 // number of responses that belonged to a command
	// suspects is the Config's, and born what it had counted when the connection
	// was made.
	suspects *Suspects
	born     uint64
}

// mailbox is what is known of the selected mailbox.
type mailbox struct {
	name      string
	examined  bool // opened by EXAMINE
	data      SelectData
	messages  uint32
	positions positions
}

// extensions is the set of what ENABLE has switched on.
type extensions uint8

const (
	enabledCondStore extensions = 1 << iota
	enabledQResync
	enabledUTF8
	enabledIMAP4rev2
)

// Caps returns the server's capabilities. The set is shared and must not be
// changed.
func (c *Conn) Caps() imap.CapSet {
	if c.caps == nil {
		return nil
	}
	return c.caps.set
}

// Has reports whether the server has a capability, also where a newer version
// of the protocol implies it.
func (c *Conn) Has(want imap.Cap) bool { return c.caps.has(want) }

// ServerID returns what the server told of itself (RFC 2971), or nil.
func (c *Conn) ServerID() *imap.IDData { return c.id }

// State returns the state of the session (RFC 9051 section 3).
func (c *Conn) State() imap.ConnState { return c.state }

// Selected returns the name of the selected mailbox, or the empty string.
func (c *Conn) Selected() string {
	if c.mailbox == nil {
		return ""
	}
	return c.mailbox.name
}

// SelectData returns what the server told of the selected mailbox when it was
// opened, or nil if none is. It must not be changed.
func (c *Conn) SelectData() *SelectData {
	if c.mailbox == nil {
		return nil
	}
	return &c.mailbox.data
}

// NumMessages returns the number of messages in the selected mailbox as far as
// the server has told.
func (c *Conn) NumMessages() uint32 {
	if c.mailbox == nil {
		return 0
	}
	return c.mailbox.messages
}

// LastHeard returns when something was last received.
func (c *Conn) LastHeard() time.Time { return c.t.heard }

// Err returns what closed the connection, or nil while it is open.
func (c *Conn) Err() error { return c.err }

// Close closes the connection at once, without a farewell. A command that is
// running in another goroutine fails. See Logout for the polite way.
func (c *Conn) Close() error { return c.t.close() }

// fail closes the connection because of err, which it returns.
func (c *Conn) fail(err error) error {
	if c.err == nil {
		c.err = err
		c.state = imap.ConnStateLogout
		c.mailbox = nil
		_ = c.t.close()
	}
	return err
}

// usable fails if no command can be sent any more.
func (c *Conn) usable() error {
	if c.err != nil {
		return &ClosedError{Err: c.err}
	}
	return nil
}

// typed gives an error of the transport or the decoder its type. Only errors
// that have made the connection useless get here.
func (c *Conn) typed(ctx context.Context, command string, err error) error {
	var (
		bye      *ByeError
		protocol *ProtocolError
		tlsErr   *TLSError
		syntax   *imapwire.SyntaxError
		limit    *imapwire.LimitError
		callback *callbackError
	)
	switch {
	case errors.As(err, &callback):
		return callback.err
	case errors.Is(err, imapwire.ErrLiteralSize):
		return fmt.Errorf("%s: %w", command, err) // the caller's mistake
	case errors.As(err, &bye), errors.As(err, &protocol), errors.As(err, &tlsErr):
		return err
	case c.t.isAborted() && ctx.Err() != nil:
		return &CanceledError{Command: command, Err: ctx.Err()}
	case errors.As(err, &syntax), errors.As(err, &limit):
		return &ProtocolError{Command: command, Err: err}
	case isTimeout(err):
		return &TimeoutError{Command: command, Silence: c.t.silence, Err: err}
	case errors.Is(err, net.ErrClosed):
		return &ClosedError{Err: net.ErrClosed}
	case errors.Is(err, io.EOF):
		return &NetworkError{Command: command, Err: io.ErrUnexpectedEOF}
	}
	return &NetworkError{Command: command, Err: err}
}

func (c *Conn) nextTag() string {
	c.lastTag++
	return "P" + strconv.FormatUint(uint64(c.lastTag), 10)
}
