package imapwire

import (
	"errors"
	"io"
	"sync"
)

const (
	// windowSize is one TLS record.
	windowSize = 16 << 10
	// keepScratch is the most that a pooled buffer keeps of its scratch space.
	keepScratch = 64 << 10
	// maxEmptyReads is how often a reader may return nothing at all.
	maxEmptyReads = 100
)

// buffer is what a Decoder needs while it reads a response, and gives back when
// it has none: thousands of connections wait, few read.
type buffer struct {
	window  [windowSize]byte
	scratch []byte // a token that spans two windows
	recent  recent
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (d *Decoder) borrow() {
	if d.buf == nil {
		d.buf = buffers.Get().(*buffer)
	}
}

// Release gives the read buffer back until the first byte of the next response
// arrives. Call it when a command is done and the connection may lie idle. With
// bytes waiting in the buffer, or a response that is not finished, it does
// nothing.
func (d *Decoder) Release() {
	if d.buf == nil || d.inLine || d.r < d.w {
		return
	}
	if cap(d.buf.scratch) > keepScratch {
		d.buf.scratch = nil
	}
	buffers.Put(d.buf)
	d.buf = nil
	d.pos += int64(d.w)
	d.r, d.w = 0, 0
}

// Buffered returns the number of bytes that were read from the connection and
// not yet looked at. After the answer to STARTTLS there must be none: whatever
// follows it in clear was put there by somebody in between (RFC 9051 section
// 11.3).
func (d *Decoder) Buffered() int { return d.w - d.r }

// TakeBuffered removes and returns the bytes that Buffered counts. After the
// answer to COMPRESS they are the start of the compressed stream (RFC 4978).
func (d *Decoder) TakeBuffered() []byte {
	if d.r == d.w {
		return nil
	}
	rest := append([]byte(nil), d.buf.window[d.r:d.w]...)
	d.r = d.w
	return rest
}

// Wait blocks until a byte of the next response is there. It skips what is left
// of the response before. It holds no buffer while it waits if Release was
// called. A time-out leaves the Decoder usable; any other error is final.
func (d *Decoder) Wait() error {
	if err := d.Finish(); err != nil {
		return err
	}
	return d.wait()
}

// wait is Wait between two responses.
func (d *Decoder) wait() error {
	if d.err != nil {
		return d.err
	}
	if d.r < d.w {
		return nil
	}
	into := d.first[:]
	if d.buf != nil {
		d.pos += int64(d.w)
		d.r, d.w = 0, 0
		into = d.buf.window[:]
	}
	n, err := readSome(d.src, into)
	if n == 0 {
		if !isTimeout(err) {
			d.err = err
		}
		return err
	}
	if d.buf == nil {
		d.borrow()
		copy(d.buf.window[:], d.first[:n])
	}
	d.w = n
	return nil
}

// fill reads more into the window, in the middle of a response. Unread bytes
// stay; there is never more than one.
func (d *Decoder) fill() error {
	if d.err != nil {
		return d.err
	}
	kept := copy(d.buf.window[:], d.buf.window[d.r:d.w])
	d.pos += int64(d.r)
	d.r, d.w = 0, kept
	if d.pos-d.start > d.limits.Response {
		d.err = d.limitError("Response", d.limits.Response)
		return d.err
	}
	n, err := readSome(d.src, d.buf.window[kept:])
	if n == 0 {
		return d.readFailed(err)
	}
	d.w += n
	return nil
}

// readFailed makes an error in the middle of a response final: what was read of
// it cannot be read again.
func (d *Decoder) readFailed(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
	return err
}

// readSome returns at least one byte or an error, never both.
func readSome(r io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := r.Read(p)
		if n > 0 {
			return n, nil // the error, if any, comes again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}
