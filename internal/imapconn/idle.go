package imapconn

import (
	"context"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// defaultIdleRenewal is the age at which Idle begins its command anew, unless the
// Config says otherwise.
// RFC 2177 section 3: re-issue IDLE at least every 29 minutes.
const defaultIdleRenewal = 20 * time.Minute

// longestIdle is the age of the command at which Idle returns at the latest, so
// that the next Idle begins another.
func longestIdle(renewal time.Duration) time.Duration { return renewal * 7 / 5 }

// Reason says why Idle returned.
type Reason int

const (
	// ActivityUpdate says that the server told of a change: see Updates.
	ActivityUpdate Reason = iota
	// ActivityTimeout says that the time is up.
	ActivityTimeout
	// ActivityInterrupt says that Interrupt was called.
	ActivityInterrupt
	// ActivityEnded says that the server ended the IDLE command by itself. The
	// next Idle begins a new one.
	ActivityEnded
)

// String names the reason.
func (r Reason) String() string {
	switch r {
	case ActivityUpdate:
		return "update"
	case ActivityTimeout:
		return "timeout"
	case ActivityInterrupt:
		return "interrupt"
	case ActivityEnded:
		return "ended"
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// Activity is what ended a wait.
type Activity struct {
	Reason  Reason
	Updates Updates
	// Pushed says that all of Updates came while IDLE was on, rather than along
	// with the answer to an earlier command.
	Pushed bool
}

// idling is the state of the IDLE command (RFC 2177, RFC 9051 section 6.3.13),
// which outlives the calls of Idle.
type idling struct {
	state  idleState
	tag    string // of the command that is asked for or on
	ending string // of the command that DONE was sent for
	since  time.Time
	// refused is the server's refusal, until Idle returns it.
	refused *Error
}

type idleState uint8

const (
	idleOff idleState = iota
	// idleAsked says that IDLE was sent and the server has not answered yet.
	idleAsked
	idleOn
)

// completes takes a completion if it is one of IDLE.
func (i *idling) completes(tag string, s *imapwire.Status) bool {
	switch tag {
	case i.ending:
		i.ending = ""
	case i.tag:
		if s.Type != imap.StatusResponseTypeOK {
			i.refused = statusError("IDLE", s)
		}
		i.state, i.tag = idleOff, ""
	default:
		return false
	}
	return true
}

// QueueIdle makes the next command take IDLE along, in the same write behind
// it, for an Idle that is to follow. With an IDLE already on, the next command
// is then DONE, the command and IDLE in one write, and the server can push
// again before the caller has looked at the command's result.
//
// It has no effect where the server lacks IDLE.
func (c *Conn) QueueIdle() {
	c.queued = c.Has(imap.CapIdle) && !c.compressed
}

// Idle waits until the server tells of a change, for at most max. What was told
// since the last look at Updates counts, so nothing is missed between commands.
//
// It leaves the IDLE command on; the next command ends it in its own write. A
// wait that ends by its time, by Interrupt or by ctx leaves the connection
// usable; in the last case the error is the context's. A server that does not
// answer the IDLE command within the command time-out is a [*TimeoutError].
func (c *Conn) Idle(ctx context.Context, max time.Duration) (Activity, error) {
	switch {
	case c.usable() != nil:
		return Activity{}, c.usable()
	case !c.Has(imap.CapIdle):
		return Activity{}, &CapabilityError{Command: "IDLE", Cap: imap.CapIdle}
	case c.compressed:
		// A read that times out would break the decompressor.
		return Activity{}, &StateError{Command: "IDLE", Reason: "the connection is compressed"}
	case ctx.Err() != nil:
		return Activity{}, fmt.Errorf("IDLE: %w", ctx.Err())
	}
	end, pushed := time.Now().Add(max), !c.updates.Any()
	leave := c.t.enter(ctx)
	defer leave()
	if err := c.beginIdle(); err != nil {
		return Activity{}, c.fail(c.typed(ctx, "IDLE", err))
	}
	if limit := c.idle.since.Add(longestIdle(c.idleRenewal)); end.After(limit) {
		end = limit
	}
	for {
		switch {
		case c.idle.refused != nil:
			err := c.idle.refused
			c.idle.refused = nil
			return Activity{}, err
		case c.updates.Any():
			return Activity{Reason: ActivityUpdate, Updates: c.Updates(), Pushed: pushed}, nil
		case c.idle.state == idleOff:
			return Activity{Reason: ActivityEnded, Updates: c.Updates(), Pushed: pushed}, nil
		case !time.Now().Before(end):
			return Activity{Reason: ActivityTimeout, Updates: c.Updates()}, nil
		}
		woken, err := c.await(end)
		switch {
		case err == nil:
			continue
		case c.dec.Err() != nil || !isTimeout(err):
			return Activity{}, c.fail(c.typed(ctx, "IDLE", err))
		case c.t.isAborted():
			return Activity{}, fmt.Errorf("IDLE: %w", ctx.Err())
		case woken:
			return Activity{Reason: ActivityInterrupt, Updates: c.Updates()}, nil
		default:
			return Activity{Reason: ActivityTimeout, Updates: c.Updates()}, nil
		}
	}
}

// Interrupt makes the Idle that is waiting in another goroutine return, or else
// the next one.
func (c *Conn) Interrupt() { c.t.wake() }

// beginIdle sees to it that the server is idling: it sends IDLE if need be, and
// reads until the server has answered.
func (c *Conn) beginIdle() error {
	var out []byte
	f := &flight{}
	if c.idle.state != idleOff && time.Since(c.idle.since) > c.idleRenewal {
		done, err := c.leaveIdle()
		if err != nil {
			return err
		}
		out = done
	}
	if c.idle.state == idleOff && c.idle.refused == nil {
		out = append(out, c.enterIdle()...)
	}
	if err := c.write(f, imapwire.Segment{Bytes: out}); err != nil {
		return err
	}
	for c.idle.state == idleAsked {
		if err := c.readOne(f); err != nil {
			return err
		}
	}
	return c.readBuffered(f)
}

// await waits for something to arrive and reads it.
func (c *Conn) await(end time.Time) (woken bool, err error) {
	c.dec.Release()
	c.t.wait(end)
	err = c.dec.Wait()
	woken = c.t.endWait()
	if err != nil {
		return woken, err
	}
	if err := c.readBuffered(&flight{}); err != nil {
		return false, err
	}
	if woken { // it came together with the data
		c.t.wake()
	}
	return false, nil
}

// readBuffered reads the responses that have arrived, the last one to its end.
func (c *Conn) readBuffered(f *flight) error {
	for c.dec.Buffered() > 0 {
		err := c.readOne(f)
		if err == nil {
			err = c.dec.Finish()
		}
		if err != nil && (c.dec.Err() != nil || !isTimeout(err)) {
			return err
		}
	}
	return nil
}

// enterIdle returns the IDLE command, which the caller writes.
func (c *Conn) enterIdle() []byte {
	c.idle.state, c.idle.tag, c.idle.since = idleAsked, c.nextTag(), time.Now()
	return []byte(c.idle.tag + " IDLE\r\n")
}

// leaveIdle returns the line that ends IDLE, which the caller writes, or nil if
// the server has ended or refused it. DONE must not be sent before the server
// has asked for it: one that refuses IDLE would take it for a command.
func (c *Conn) leaveIdle() ([]byte, error) {
	for c.idle.state == idleAsked {
		if err := c.readOne(&flight{}); err != nil {
			return nil, err
		}
	}
	if c.idle.state == idleOff {
		return nil, nil
	}
	c.idle.state, c.idle.tag, c.idle.ending = idleOff, "", c.idle.tag
	return []byte("DONE\r\n"), nil
}
