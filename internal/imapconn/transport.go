package imapconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/limit"
)

// longAgo is a deadline that makes blocked reads and writes return at once.
var longAgo = time.Unix(1, 0)

var (
	// errAborted is what reads and writes fail with once the context of the
	// command has ended.
	errAborted error = &cutShortError{"aborted"}
	// errWoken is what a read fails with that would wait although it was
	// interrupted.
	errWoken error = &cutShortError{"interrupted"}
)

// cutShortError is a time-out that did not happen: like one it leaves the Decoder
// usable if nothing of a response was read.
type cutShortError struct{ reason string }

func (e *cutShortError) Error() string { return e.reason }
func (*cutShortError) Timeout() bool   { return true }

// transport is the byte stream below a Conn. It turns silence, an ended context
// and an interrupt into errors of Read and Write by means of deadlines alone: no
// goroutine and no timer belongs to it.
//
// Reads and writes are for one goroutine at a time. The deadlines are guarded by mu,
// since others set them too: the context's end and Interrupt. A deadline in the
// past that they have set must not be moved on by the next read, hence the
// flags.
type transport struct {
	// conn is what is read and written: the network connection or the TLS or
	// DEFLATE layer on it.
	conn net.Conn
	// raw is the network connection: deadlines act on it, and closing it is
	// immediate, while closing TLS would first try to write.
	raw     net.Conn
	silence time.Duration
	heard   time.Time // when something was read last
	// turn is the one of the current command, which waits for no processor while it
	// waits for the server.
	turn *limit.Turn

	mu      sync.Mutex
	command uint32    // number of the current command; guards against late aborts
	aborted bool      // the context of the current command has ended
	until   time.Time // not zero: an idle wait is on, and this is its end
	woken   bool      // Interrupt was called and no wait has ended by it yet
}

// enter starts a command that ends with ctx. The returned function ends it; the
// end of ctx has no effect after that.
func (t *transport) enter(ctx context.Context) (leave func()) {
	t.mu.Lock()
	t.command++
	n := t.command
	t.aborted = false
	t.mu.Unlock()
	t.turn = limit.TurnOf(ctx)
	if ctx.Done() == nil {
		return func() { t.turn = nil }
	}
	stop := context.AfterFunc(ctx, func() { t.abort(n) })
	return func() {
		t.turn = nil
		if stop() {
			return
		}
		// The abort runs on its own goroutine and may still be on its way.
		t.mu.Lock()
		t.command++
		t.aborted = false
		t.mu.Unlock()
	}
}

func (t *transport) abort(command uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.command == command {
		t.aborted = true
		_ = t.raw.SetDeadline(longAgo)
	}
}

// isAborted reports whether the context of the current command has ended.
func (t *transport) isAborted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.aborted
}

// wait makes the following Read wait until the time given, if need be, rather
// than for the silence of a command, and makes it end by wake. It is over with
// the first byte, or by calling endWait.
func (t *transport) wait(until time.Time) {
	t.mu.Lock()
	t.until = until
	t.mu.Unlock()
}

// endWait ends what wait began, and reports whether wake was called since the
// last endWait.
func (t *transport) endWait() (woken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
	woken, t.woken = t.woken, false
	return woken
}

// wake ends the current wait or, if there is none, the next one.
func (t *transport) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = true
	if !t.until.IsZero() {
		_ = t.raw.SetReadDeadline(longAgo)
	}
}

// Read implements io.Reader under the deadline that is due.
func (t *transport) Read(p []byte) (int, error) {
	if err := t.armRead(); err != nil {
		return 0, err
	}
	t.turn.Pause()
	n, err := t.conn.Read(p)
	t.turn.Resume()
	if n > 0 {
		t.heard = time.Now()
	}
	return n, err
}

func (t *transport) armRead() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.aborted:
		return errAborted
	case t.until.IsZero():
		return t.raw.SetReadDeadline(time.Now().Add(t.silence))
	case t.woken:
		return errWoken
	default:
		return t.raw.SetReadDeadline(t.until)
	}
}

// Write implements io.Writer; each call may take as long as the server may be
// silent.
func (t *transport) Write(p []byte) (int, error) {
	t.mu.Lock()
	if t.aborted {
		t.mu.Unlock()
		return 0, errAborted
	}
	err := t.raw.SetWriteDeadline(time.Now().Add(t.silence))
	t.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return t.conn.Write(p)
}

// close closes the network connection at once. TLS's close_notify is not sent:
// IMAP ends by LOGOUT and BYE, so there is no truncation to protect from
// (RFC 8446 section 6.1), and writing could block.
func (t *transport) close() error { return t.raw.Close() }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
