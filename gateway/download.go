package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// file is what is known of a download before its first byte.
type file struct {
	contentType string
	// name is the file's name; empty where it has none.
	name string
	// size is -1 where only the end will tell.
	size int64
}

// sink takes a download: first what it is, then its bytes. It is not called
// again after it has failed.
type sink interface {
	begin(file) error
	io.Writer
}

// copyBuffer is the size of the pieces in which a download is passed on.
const copyBuffer = 128 << 10

// fetchRaw streams a whole message to fn.
func fetchRaw(ctx context.Context, c *imapconn.Conn, uid imap.UID, fn func(*imapconn.BodySection) error) error {
	return fetchSection(ctx, c, uid, &imap.FetchItemBodySection{Peek: true}, fn)
}

// fetchSection streams a section to fn. It fails with MESSAGE_GONE as fetchOne
// does. fn gets the section at most once: an answer that repeats it is not to
// be believed.
func fetchSection(ctx context.Context, c *imapconn.Conn, uid imap.UID, section *imap.FetchItemBodySection, fn func(*imapconn.BodySection) error) error {
	delivered := false
	opts := &imapconn.FetchOptions{Body: func(m *imapconn.FetchMessage, s *imapconn.BodySection) error {
		if delivered || s.Literal == nil || m.UID != 0 && m.UID != uid {
			return nil
		}
		delivered = true
		return fn(s)
	}}
	opts.BodySection = []*imap.FetchItemBodySection{section}
	for attempt := range 2 {
		if attempt > 0 {
			// As in fetchOne: the session may not have been told of it.
			if err := c.Noop(ctx); err != nil {
				return err
			}
		}
		err := c.Fetch(ctx, imap.UIDSetNum(uid), opts, func(*imapconn.FetchMessage) error { return nil })
		if err != nil || delivered {
			return err
		}
	}
	return messageGone()
}

// downloadRaw passes a message on as it is.
func (s *messageService) downloadRaw(ctx context.Context, req *posternv1.DownloadMessageRequest, out sink) error {
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return err
	}
	err = s.open(ctx, p, readSlowly, func(c *imapconn.Conn) error {
		return fetchRaw(ctx, c, p.id.UID, func(raw *imapconn.BodySection) error {
			err := out.begin(file{contentType: "message/rfc822", name: p.id.String() + ".eml", size: raw.Literal.Size()})
			if err != nil {
				return err
			}
			return pass(out, raw.Literal)
		})
	})
	if err != nil {
		return fmt.Errorf("download message: %w", err)
	}
	return nil
}

// downloadPart passes an attachment on, decoded.
func (s *messageService) downloadPart(ctx context.Context, req *posternv1.DownloadAttachmentRequest, out sink) error {
	name, path, _ := strings.Cut(req.GetName(), "/attachments/")
	p, err := s.locate(ctx, name)
	if err != nil {
		return err
	}
	err = s.open(ctx, p, readSlowly, func(c *imapconn.Conn) error {
		opts := &imapconn.FetchOptions{}
		opts.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
		opts.RFC822Size = true // tells the answer from news of flags
		m, err := fetchOne(ctx, c, p.id.UID, opts)
		if err != nil {
			return err
		}
		root, defects := message.FromBodyStructure(m.BodyStructure)
		if slices.Contains(defects, message.DefectStructureMissing) {
			return walkToPart(ctx, c, p.id.UID, path, out)
		}
		part := root.Find(path)
		if part == nil || part.IsMultipart() {
			return attachmentNotFound(path)
		}
		section := &imap.FetchItemBodySection{Part: partNumbers(path), Peek: true}
		return fetchSection(ctx, c, p.id.UID, section, func(body *imapconn.BodySection) error {
			return passPart(out, part, body.Literal, body.Literal.Size())
		})
	})
	if err != nil {
		return fmt.Errorf("download attachment: %w", err)
	}
	return nil
}

func attachmentNotFound(path string) error {
	return refuse(codes.NotFound, reasonAttachmentNotFound, "The message has no attachment %s.", path)
}

// errPassed ends the walk through a message once the part was passed on.
var errPassed = errors.New("the part was passed on")

// walkToPart finds a part by reading the message, for servers that do not tell
// how it is made up.
func walkToPart(ctx context.Context, c *imapconn.Conn, uid imap.UID, path string, out sink) error {
	passed := false
	err := fetchRaw(ctx, c, uid, func(raw *imapconn.BodySection) error {
		_, err := message.Walk(raw.Literal, message.DefaultLimits, func(p *message.Part, body io.Reader) error {
			if p.Path != path || p.IsMultipart() {
				return nil
			}
			passed = true
			if err := passPart(out, p, body, -1); err != nil {
				return err
			}
			return errPassed
		})
		if errors.Is(err, errPassed) {
			// The rest of a large message is not worth waiting for, and a small
			// one is read to its end by the connection.
			return nil
		}
		return err
	})
	if err == nil && !passed {
		return attachmentNotFound(path)
	}
	return err
}

// passPart passes a part on without its transfer encoding. Only where there is
// none is its size known beforehand.
func passPart(out sink, part *message.Part, body io.Reader, encodedSize int64) error {
	f := file{contentType: part.DownloadType(), name: part.DownloadName(), size: -1}
	switch part.Encoding {
	case "7bit", "8bit", "binary":
		f.size = encodedSize
	}
	if err := out.begin(f); err != nil {
		return err
	}
	return pass(out, message.DecodePart(body, part.Encoding))
}

// pass copies in pieces that are worth a system call each.
func pass(out sink, body io.Reader) error {
	// Both ends could copy by themselves, in pieces of a few kilobytes.
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{body}, make([]byte, copyBuffer))
	return err
}
