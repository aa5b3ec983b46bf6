package imapwire

import (
	"errors"
	"fmt"
	"io"
)

// ErrLiteralSize says that the reader of a literal held less or more than was
// announced. The connection is then of no more use: the server takes what is
// sent next for the rest of the literal.
var ErrLiteralSize = errors.New("imapwire: literal is not of the announced size")

// Segment is a piece of what an Encoder built: bytes, then possibly a literal
// that is streamed.
type Segment struct {
	// Sync says that the server must have sent a continuation request before
	// this segment is written.
	Sync bool
	// Bytes is written first. It is valid until the Encoder's Reset.
	Bytes []byte
	// Reader delivers the literal that follows Bytes, if not nil.
	Reader io.Reader
	// Size is the number of bytes of that literal.
	Size int64
}

// WriteTo writes the segment. It fails with ErrLiteralSize if the literal's
// reader ends early or goes on.
func (s Segment) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s.Bytes)
	written := int64(n)
	if err != nil || s.Reader == nil {
		return written, err
	}
	copied, err := io.CopyN(w, s.Reader, s.Size)
	written += copied
	if errors.Is(err, io.EOF) {
		return written, fmt.Errorf("%w: %d bytes of %d", ErrLiteralSize, copied, s.Size)
	}
	if err != nil {
		return written, err
	}
	if n, _ := io.ReadFull(s.Reader, make([]byte, 1)); n > 0 {
		return written, fmt.Errorf("%w: more than %d bytes", ErrLiteralSize, s.Size)
	}
	return written, nil
}
