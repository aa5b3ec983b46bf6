package smtpconn

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// maxAnswer bounds what a server may say between two things that it is told. An
// answer has a few lines; go-smtp bounds the line but not their number.
const maxAnswer = 256 << 10

// errTalkative ends a connection whose server says more than that.
var errTalkative = errors.New("the server does not come to an end")

// boundedConn is the byte stream below go-smtp's client: it bounds the answers,
// and lets no write block for longer than the server may be silent. go-smtp sets
// deadlines for commands but none for the data.
type boundedConn struct {
	net.Conn
	silence time.Duration
	heard   atomic.Int64 // bytes since the last write
	// frugal makes it give out one byte at a time, so that nothing is read ahead.
	frugal bool
}

// Read implements io.Reader.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.frugal && len(p) > 1 {
		p = p[:1]
	}
	n, err := c.Conn.Read(p)
	if c.heard.Add(int64(n)) > maxAnswer {
		return 0, errTalkative
	}
	return n, err
}

// Write implements io.Writer.
func (c *boundedConn) Write(p []byte) (int, error) {
	c.heard.Store(0)
	if err := c.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
