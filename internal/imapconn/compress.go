package imapconn

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"net"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// capCompress is COMPRESS=DEFLATE (RFC 4978).
const capCompress imap.Cap = "COMPRESS=DEFLATE"

// compress switches the connection to DEFLATE. A server that refuses is left
// uncompressed.
func (c *Conn) compress(ctx context.Context) error {
	_, err := c.do(ctx, &command{name: "COMPRESS", encode: func(e *imapwire.Encoder) {
		e.Atom("COMPRESS").SP().Atom("DEFLATE")
	}})
	var refused *Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	// RFC 4978 section 3: the server compresses right after its OK, so what is
	// buffered is the start of the compressed stream.
	in := io.MultiReader(bytes.NewReader(c.dec.TakeBuffered()), c.t.conn)
	out, err := flate.NewWriter(c.t.conn, flate.BestSpeed)
	if err != nil {
		return c.fail(&ProtocolError{Command: "COMPRESS", Err: err})
	}
	c.t.conn = &deflateConn{Conn: c.t.conn, in: flate.NewReader(in), out: out}
	c.dec.Reset(&c.t)
	c.compressed = true
	return nil
}

// Compressed reports whether the connection is compressed.
func (c *Conn) Compressed() bool { return c.compressed }

// deflateConn is a connection in raw DEFLATE both ways (RFC 1951). Each write is
// flushed, for the server waits for it.
type deflateConn struct {
	net.Conn
	in  io.Reader
	out *flate.Writer
}

func (d *deflateConn) Read(p []byte) (int, error) { return d.in.Read(p) }

func (d *deflateConn) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	if err == nil {
		err = d.out.Flush()
	}
	return n, err
}
