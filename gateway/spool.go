package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/limit"
)

const (
	// maxImport is the largest message that can be imported.
	maxImport = 150 << 20
	// inMemory is how much of a message is kept in memory before it goes into a
	// file.
	inMemory = 256 << 10
)

// spools receives messages before they are given to a mail server, which has to
// be told the size of a message first. A client that is slow or leaves so holds
// up nothing of the mailbox, and none of its connections.
//
// Their number is bounded, and with it the disk space that they take.
type spools struct {
	dir  string
	most int
	line *limit.Line
	wait time.Duration
}

func newSpools(dir string, limits *Limits, wait time.Duration) *spools {
	return &spools{dir: dir, most: limits.Imports, line: limit.NewLine(limits.Imports, limits.ImportsPerToken), wait: wait}
}

// open gives an empty spool. It is to be closed.
func (s *spools) open(ctx context.Context) (*spool, error) {
	who := access.From(ctx).ID
	patient, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	err := s.line.Enter(patient, who)
	if err != nil && ctx.Err() == nil {
		return nil, refuse(codes.ResourceExhausted, reasonRateLimited,
			"%d messages are being imported: make fewer requests at once.", s.line.Held()).
			with("limit", limitImports).with("value", strconv.Itoa(s.most)).retryAfter(rateLimitedRetry)
	}
	if err != nil {
		return nil, err
	}
	return &spool{spools: s, owner: who, digest: sha256.New()}, nil
}

// spool is a message on its way, with line ends as mail has them. It lies in
// memory while it is small, then in a file that has no name, so that nothing is
// left of it when the process ends in whatever way.
type spool struct {
	// owner is for whom it is counted.
	owner  string
	spools *spools
	memory bytes.Buffer
	file   *os.File
	size   int64
	digest hash.Hash
	// last is the byte before what is written next.
	last byte
	// received counts the bytes as they came.
	received int64
}

// Close gives the space back.
func (s *spool) Close() error {
	defer s.spools.line.Leave(s.owner)
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Write takes the next bytes of the message. It refuses what no mailbox can
// hold.
func (s *spool) Write(p []byte) (int, error) {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		// RFC 9051 section 9: CHAR8 is any octet but NUL.
		return 0, refuse(codes.InvalidArgument, reasonMessageInvalid,
			"Byte %d of the message is NUL, which IMAP cannot carry.", s.received+int64(i)).
			with("position", strconv.FormatInt(s.received+int64(i), 10))
	}
	s.received += int64(len(p))
	if s.received > maxImport {
		return 0, tooLargeMessage(maxImport, 0)
	}
	s.digest.Write(p)
	for rest := p; len(rest) > 0; {
		line, more := rest, []byte(nil)
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, more = rest[:i+1], rest[i+1:]
		}
		if err := s.put(line); err != nil {
			return 0, err
		}
		rest = more
	}
	return len(p), nil
}

// put adds bytes of which at most the last one is a line feed.
func (s *spool) put(p []byte) error {
	end := len(p) - 1
	before := s.last
	if end > 0 {
		before = p[end-1]
	}
	s.last = p[end]
	if p[end] != '\n' || before == '\r' {
		return s.append(p)
	}
	if err := s.append(p[:end]); err != nil {
		return err
	}
	return s.append([]byte("\r\n"))
}

func (s *spool) append(p []byte) (err error) {
	s.size += int64(len(p))
	s.memory.Write(p)
	if s.memory.Len() < inMemory {
		return nil
	}
	if s.file == nil {
		if s.file, err = namelessFile(s.spools.dir); err != nil {
			return fmt.Errorf("spool a message: %w", err)
		}
	}
	return s.flush()
}

func (s *spool) flush() error {
	if _, err := s.memory.WriteTo(s.file); err != nil {
		return fmt.Errorf("spool a message: %w", err)
	}
	return nil
}

func namelessFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "postern-import-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reader gives the message from its beginning.
func (s *spool) reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.memory.Bytes()), nil
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read a spooled message: %w", err)
	}
	return s.file, nil
}

// message is the message as APPEND takes it.
func (s *spool) message() (imapconn.AppendMessage, error) {
	r, err := s.reader()
	return imapconn.AppendMessage{Reader: r, Size: s.size}, err
}

// tooLargeMessage is the failure of a message that is larger than a limit;
// actual is 0 where it was not received to its end.
func tooLargeMessage(limit, actual int64) *failure {
	f := refuse(codes.InvalidArgument, reasonMessageTooLarge, "The message is larger than the limit of %d bytes.", limit).
		with("limit", fmt.Sprint(limit))
	if actual > 0 {
		f = f.with("actual", fmt.Sprint(actual))
	}
	return f
}
