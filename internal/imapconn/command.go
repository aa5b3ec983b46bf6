package imapconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

const (
	// maxUnclaimed bounds the responses that one command may be interspersed
	// with and that nobody waits for. It ends a server that talks for ever.
	maxUnclaimed = 1 << 17
	// maxMalformed bounds the lines that one command passes over.
	maxMalformed = 1 << 10
	// lastWords is how long a server whose connection broke while it was
	// written to may take to say why.
	lastWords = time.Second
)

// command is one command, from its text to its completion.
type command struct {
	// name stands in errors; it is the command without its arguments.
	name string
	// encode writes the command after the tag, without the line end. It may be
	// nil if name is the whole of it.
	encode func(e *imapwire.Encoder)
	// data is offered the untagged responses that arrive while the command is
	// the oldest in flight; it reads the payload of those it claims. Nil claims
	// nothing.
	data func(r imapwire.Response) (claimed bool, err error)
	// challenge answers a continuation request with a line. Nil ignores it.
	challenge func(text string) (answer string, err error)
	// settle is called with the completion, once all commands that were in
	// flight with this one are complete. It may be nil.
	settle func(s *imapwire.Status)

	tag    string
	status *imapwire.Status // the completion, once it is there
	// malformed is the first fault in a response that the command claimed.
	malformed error
}

// err returns what a completion means: nil for OK, else an [*Error].
func (cmd *command) err() error {
	if cmd.status == nil || cmd.status.Type == imap.StatusResponseTypeOK {
		return nil
	}
	return statusError(cmd.name, cmd.status)
}

func statusError(name string, s *imapwire.Status) *Error {
	return &Error{Command: name, Type: s.Type, Code: s.Code, CodeArgs: s.Arg, Text: s.Text}
}

// callbackError carries the error of a caller's function through the layers
// that give errors of the connection their types.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }
func (e *callbackError) Unwrap() error { return e.err }

// do runs one command and returns its completion. The error is an [*Error] if
// the server refused it.
func (c *Conn) do(ctx context.Context, cmd *command) (*imapwire.Status, error) {
	if err := c.run(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.status, cmd.err()
}

// run sends commands in one write, as far as their literals allow, and reads
// until all are complete. A command's refusal is in its status, not in the
// error: an error means that the connection is closed or that nothing was sent.
//
// The caller sees to it that the commands may be in flight together (RFC 9051
// section 5.5).
func (c *Conn) run(ctx context.Context, cmds ...*command) error {
	name := cmds[len(cmds)-1].name
	if err := c.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	parts := make([][]imapwire.Segment, len(cmds))
	encoders := make([]*imapwire.Encoder, len(cmds))
	defer func() {
		for _, e := range encoders {
			releaseEncoder(e)
		}
	}()
	for i, cmd := range cmds {
		encoders[i] = c.encoder()
		var err error
		if parts[i], err = c.encode(encoders[i], cmd); err != nil {
			return fmt.Errorf("%s: %w", cmd.name, err)
		}
	}
	leave := c.t.enter(ctx)
	defer leave()
	err := c.exchange(cmds, parts)
	c.dec.Release()
	if err != nil {
		err = c.typed(ctx, name, err)
		if c.suspects != nil && isDeath(ctx, err) && !slices.ContainsFunc(cmds, isFetch) {
			c.suspects.calm()
		}
		return c.fail(err)
	}
	for _, cmd := range cmds {
		if cmd.settle != nil {
			cmd.settle(cmd.status)
		}
	}
	return nil
}

var encoders = sync.Pool{New: func() any { return new(imapwire.Encoder) }}

func (c *Conn) encoder() *imapwire.Encoder {
	e := encoders.Get().(*imapwire.Encoder)
	e.UTF8 = c.enabled&enabledUTF8 != 0
	e.LiteralPlus = c.Has(imap.CapLiteralPlus)
	e.LiteralMinus = c.Has(imap.CapLiteralMinus)
	return e
}

// releaseEncoder forgets what was encoded, for it may have been a password.
func releaseEncoder(e *imapwire.Encoder) {
	if e != nil {
		e.Reset()
		encoders.Put(e)
	}
}

func (c *Conn) encode(e *imapwire.Encoder, cmd *command) ([]imapwire.Segment, error) {
	cmd.tag = c.nextTag()
	e.Atom(cmd.tag).SP()
	if cmd.encode == nil {
		e.Atom(cmd.name)
	} else {
		cmd.encode(e)
	}
	return e.End().Segments()
}

// flight is what one call of run has under way.
type flight struct {
	cmds      []*command
	unclaimed int
	malformed int
}

// oldest returns the first command that is not complete, or nil.
func (f *flight) oldest() *command {
	for _, cmd := range f.cmds {
		if cmd.status == nil {
			return cmd
		}
	}
	return nil
}

// exchange sends the encoded commands and reads until all are complete.
func (c *Conn) exchange(cmds []*command, parts [][]imapwire.Segment) error {
	var out []byte
	if c.idle.state != idleOff {
		done, err := c.leaveIdle()
		if err != nil {
			return err
		}
		out = append(out, done...)
	}
	f := &flight{}
	for i, cmd := range cmds {
		f.cmds = append(f.cmds, cmd)
		var err error
		if out, err = c.send(f, cmd, parts[i], out); err != nil {
			return err
		}
	}
	if c.queued {
		c.queued = false
		out = append(out, c.enterIdle()...)
	}
	if err := c.write(f, imapwire.Segment{Bytes: out}); err != nil {
		return err
	}
	for f.oldest() != nil {
		if err := c.readOne(f); err != nil {
			return err
		}
	}
	return nil
}

// send writes a command's segments. What is left to be written at the end comes
// back, to go out together with what follows. A command that is refused before
// its end is left at that.
func (c *Conn) send(f *flight, cmd *command, segments []imapwire.Segment, out []byte) ([]byte, error) {
	for _, seg := range segments {
		if seg.Sync {
			if err := c.write(f, imapwire.Segment{Bytes: out}); err != nil {
				return nil, err
			}
			out = out[:0]
			goAhead, err := c.awaitGoAhead(f, cmd)
			if err != nil || !goAhead {
				return out, err
			}
		}
		out = append(out, seg.Bytes...)
		if seg.Reader == nil {
			continue
		}
		if err := c.write(f, imapwire.Segment{Bytes: out, Reader: seg.Reader, Size: seg.Size}); err != nil {
			return nil, err
		}
		out = out[:0]
	}
	return out, nil
}

// write writes to the server. If that fails, the server may have said why.
func (c *Conn) write(f *flight, seg imapwire.Segment) error {
	if len(seg.Bytes) == 0 && seg.Reader == nil {
		return nil
	}
	_, err := seg.WriteTo(&c.t)
	var callback *callbackError
	switch {
	case err == nil, c.t.isAborted(), isTimeout(err), errors.Is(err, imapwire.ErrLiteralSize), errors.As(err, &callback):
		return err
	}
	silence := c.t.silence
	c.t.silence = min(silence, lastWords)
	defer func() { c.t.silence = silence }()
	for range maxMalformed {
		var bye *ByeError
		if readErr := c.readOne(f); errors.As(readErr, &bye) {
			return bye
		} else if readErr != nil {
			break
		}
	}
	return err
}

// awaitGoAhead reads until the server asks for a command's literal. It returns
// false if the command is complete instead.
func (c *Conn) awaitGoAhead(f *flight, cmd *command) (bool, error) {
	asked := false
	saved := cmd.challenge
	cmd.challenge = func(string) (string, error) { asked = true; return "", errNoAnswer }
	defer func() { cmd.challenge = saved }()
	for !asked && cmd.status == nil {
		if err := c.readOne(f); err != nil {
			return false, err
		}
	}
	return asked, nil
}

// errNoAnswer is returned by a challenge function that took note of a
// continuation request and has no line to send.
var errNoAnswer = errors.New("no answer")

// readOne reads a response and gives it to whom it belongs. An error is one of
// the connection or of a caller's function.
func (c *Conn) readOne(f *flight) error {
	r, err := c.dec.Next()
	if err != nil {
		if c.dec.Err() != nil || isTimeout(err) {
			return err
		}
		return f.passOver(err)
	}
	switch {
	case r.Tag != "":
		return c.completed(f, r)
	case r.Continuation:
		return c.continuation(f, r.Text)
	case r.Name == string(imap.StatusResponseTypeBye):
		return c.bye(f, r.Status)
	}
	if r.Status != nil {
		c.note(r.Status)
		if r.Status.Type == imap.StatusResponseTypeNo {
			c.warned()
		}
	}
	claimed, err := f.offer(r)
	if claimed {
		c.answered++
	}
	if err == nil && !claimed {
		if err := f.ignore(); err != nil {
			return err
		}
		err = c.unsolicited(r)
	}
	if err == nil {
		return nil
	}
	var callback *callbackError
	if errors.As(err, &callback) || c.dec.Err() != nil {
		return err
	}
	return f.passOver(err)
}

// ignore counts a response that nobody asked for.
func (f *flight) ignore() error {
	if f.unclaimed++; f.unclaimed > maxUnclaimed {
		return &ProtocolError{Command: f.name(), Err: fmt.Errorf("more than %d responses that nobody asked for", maxUnclaimed)}
	}
	return nil
}

func (f *flight) name() string {
	if cmd := f.oldest(); cmd != nil {
		return cmd.name
	}
	return "IDLE"
}

// passOver takes note of a line that could not be read. The connection survives
// it, within bounds.
func (f *flight) passOver(err error) error {
	if cmd := f.oldest(); cmd != nil && cmd.malformed == nil {
		cmd.malformed = err
	}
	if f.malformed++; f.malformed > maxMalformed {
		return &ProtocolError{Command: f.name(), Err: err}
	}
	return nil
}

// offer gives an untagged response to the oldest command in flight that claims
// it. Servers complete commands in order, but what belongs to a later one may
// arrive before (RFC 9051 section 5.5).
func (f *flight) offer(r imapwire.Response) (claimed bool, err error) {
	for _, cmd := range f.cmds {
		if cmd.status != nil || cmd.data == nil {
			continue
		}
		if claimed, err = cmd.data(r); claimed || err != nil {
			return true, err
		}
	}
	return false, nil
}

func (c *Conn) completed(f *flight, r imapwire.Response) error {
	c.note(r.Status)
	if c.idle.completes(r.Tag, r.Status) {
		return nil
	}
	i := slices.IndexFunc(f.cmds, func(cmd *command) bool { return cmd.tag == r.Tag && cmd.status == nil })
	switch {
	case i < 0 && r.Tag == "DONE":
		// The server had ended IDLE before it read DONE.
		return f.ignore()
	case i < 0:
		return &ProtocolError{Command: f.name(), Err: errors.New("completion of a command that is not in flight")}
	}
	f.cmds[i].status = r.Status
	c.answered++
	return nil
}

func (c *Conn) continuation(f *flight, text string) error {
	if c.idle.state == idleAsked && f.oldest() == nil {
		c.idle.state = idleOn
		return nil
	}
	i := slices.IndexFunc(f.cmds, func(cmd *command) bool { return cmd.status == nil && cmd.challenge != nil })
	if i < 0 {
		return f.ignore() // nobody waits for it
	}
	answer, err := f.cmds[i].challenge(text)
	if errors.Is(err, errNoAnswer) {
		return nil
	}
	if err != nil {
		return err
	}
	e := c.encoder()
	defer releaseEncoder(e)
	segments, err := e.Line(answer).Segments()
	if err != nil {
		return &callbackError{err}
	}
	_, err = segments[0].WriteTo(&c.t)
	return err
}

func (c *Conn) bye(f *flight, s *imapwire.Status) error {
	if cmd := f.oldest(); cmd != nil && cmd.name == "LOGOUT" {
		return nil
	}
	return &ByeError{Command: f.name(), Code: s.Code, CodeArgs: s.Arg, Text: s.Text}
}

// exactly returns a data function that claims the responses of one name.
func exactly(name string, read func(r imapwire.Response) error) func(imapwire.Response) (bool, error) {
	return func(r imapwire.Response) (bool, error) {
		if !strings.EqualFold(r.Name, name) {
			return false, nil
		}
		return true, read(r)
	}
}
