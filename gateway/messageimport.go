package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// ImportMessage implements MessageService.
func (s *messageService) ImportMessage(stream grpc.ClientStreamingServer[posternv1.ImportMessageRequest, posternv1.Message]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if first.GetTarget() == nil {
		return refuseField("target", reasonArgumentInvalid, "The first request of an import must have its target.")
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	if err := applyIdempotencyKey(first.GetTarget(), md.Get(headerIdempotencyKey)); err != nil {
		return err
	}
	out, err := s.importMessage(stream.Context(), first.GetTarget(), -1, func(to io.Writer) error {
		return receiveAll(to, func() ([]byte, bool, error) {
			next, err := stream.Recv()
			return next.GetData(), next.GetTarget() != nil, err
		})
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(out)
}

// receiveAll passes on the bytes of a stream. next gives the next of them, and says
// whether the client has sent a target again.
func receiveAll(to io.Writer, next func() (data []byte, target bool, err error)) error {
	for {
		data, target, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if target {
			return refuseField("target", reasonArgumentInvalid, "Only the first request of a stream has a target.")
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
	}
}

// importing is a message on its way into a folder.
type importing struct {
	account *account.Account
	folder  folder.Folder
	flags   []imap.Flag
	target  *posternv1.ImportMessageRequest_Target
	spool   *spool
	trace   *trace
}

// worthAsking is how large a message must be declared to be for its size to be
// compared with the server's limit before it is received.
const worthAsking = 1 << 20

// importMessage puts a message into a folder. size is what the client says
// that it will be, negative where it does not. receive writes the message.
func (s *messageService) importMessage(ctx context.Context, target *posternv1.ImportMessageRequest_Target, size int64, receive func(io.Writer) error) (*posternv1.Message, error) {
	im := &importing{target: target}
	var err error
	if im.flags, err = parseFlags("target.flags", target.GetFlags()); err != nil {
		return nil, err
	}
	if target.GetInternalDate() != nil && !target.GetInternalDate().IsValid() {
		return nil, refuseField("target.internal_date", reasonArgumentInvalid, "The internal date is no time between the years 1 and 9999.")
	}
	if im.account, err = s.accounts.Get(ctx, accountID(target.GetParent())); err != nil {
		return nil, err
	}
	if im.folder, err = s.namedFolder(ctx, im.account.ID, "target.folder", target.GetFolder()); err != nil {
		return nil, err
	}
	if size > maxImport {
		return nil, tooLargeMessage(maxImport, size)
	}
	if size > worthAsking {
		err := s.mailboxes.Do(ctx, im.account.ID, "", nil, func(c *imapconn.Conn) error { return im.fits(ctx, c, size) })
		if err != nil {
			return nil, fmt.Errorf("import message: %w", err)
		}
	}
	if im.spool, err = s.spools.open(ctx); err != nil {
		return nil, err
	}
	defer im.spool.Close()
	if err := receive(im.spool); err != nil {
		return nil, fmt.Errorf("receive a message: %w", err)
	}
	out, err := s.importSpooled(ctx, im)
	if err != nil {
		return nil, fmt.Errorf("import message: %w", err)
	}
	s.wrote(im.account.ID)
	return out, nil
}

// importSpooled puts a message that was received whole into its folder.
func (s *messageService) importSpooled(ctx context.Context, im *importing) (*posternv1.Message, error) {
	if im.spool.size == 0 {
		return nil, refuseField("data", reasonMessageInvalid, "The message is empty.")
	}
	var err error
	if im.trace, err = im.traceOfSpool(); err != nil {
		return nil, err
	}
	var out *posternv1.Message
	content := slices.Concat(contentOf(im.target), im.spool.digest.Sum(nil))
	answer, err := s.once(ctx, im.account.ID, "ImportMessage", im.target.GetRequestId(), content, func(ctx context.Context, again bool) (_ string, err error) {
		if out, err = s.append(ctx, im, again); err != nil {
			return "", err
		}
		return outcomeOf(out), nil
	})
	if err != nil || out != nil {
		return out, err
	}
	return s.recall(ctx, answer, im.folder), nil
}

// append gives the server the message. again says that it may have it already.
func (s *messageService) append(ctx context.Context, im *importing, again bool) (*posternv1.Message, error) {
	if again {
		if out, err := s.findArrived(ctx, im.account, im.folder, im.trace); err != nil || out != nil {
			return out, err
		}
	}
	mailbox := ""
	if slices.ContainsFunc(im.flags, isKeyword) {
		mailbox = im.folder.Name // which keywords can be kept is told when it is opened
	}
	var data *imapconn.AppendData
	err := s.mailboxes.Do(ctx, im.account.ID, mailbox, writeOnce, func(c *imapconn.Conn) (err error) {
		if err := im.fits(ctx, c, im.spool.size); err != nil {
			return err
		}
		if mailbox != "" {
			if err := checkKeepable(c.SelectData(), im.flags); err != nil {
				return err
			}
		}
		if !c.Has(imap.CapUIDPlus) {
			if err := im.trace.notBefore(ctx, c, im.folder.Name); err != nil {
				return err
			}
		}
		raw, err := im.spool.message()
		if err != nil {
			return err
		}
		raw.Flags, raw.Time = im.flags, im.trace.time
		data, err = c.Append(ctx, im.folder.Name, raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(data.UIDs) == 1 {
		id := folder.MessageID{Folder: im.folder.Key, UIDValidity: data.UIDValidity, UID: data.UIDs[0]}
		return s.describe(ctx, event.MessageName(im.account.ID, id), im.folder), nil
	}
	return s.foundAgain(ctx, im.account, im.folder, im.trace), nil
}

func isKeyword(flag imap.Flag) bool { return !strings.HasPrefix(string(flag), `\`) }

// fits refuses a message that is larger than what the server takes, by the
// limit that it tells (APPENDLIMIT, RFC 7889): one for all mailboxes, or one of
// the mailbox.
func (im *importing) fits(ctx context.Context, c *imapconn.Conn, size int64) error {
	limit, ok := c.Caps().AppendLimit()
	if !ok {
		return nil
	}
	if limit == nil {
		state, err := c.Status(ctx, im.folder.Name, &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{AppendLimit: true}})
		if err != nil {
			return err
		}
		if limit = state.AppendLimit; limit == nil {
			return nil
		}
	}
	if size > int64(*limit) {
		return tooLargeMessage(int64(*limit), size)
	}
	return nil
}

// maxTracedHeader is how much of a message is read for its header.
const maxTracedHeader = 64 << 10

// traceOfSpool is what the message is found by where the server does not tell
// which it has become.
func (im *importing) traceOfSpool() (*trace, error) {
	r, err := im.spool.reader()
	if err != nil {
		return nil, err
	}
	block, err := io.ReadAll(io.LimitReader(r, maxTracedHeader))
	if err != nil {
		return nil, fmt.Errorf("read a spooled message: %w", err)
	}
	if end := bytes.Index(block, []byte("\r\n\r\n")); end >= 0 {
		block = block[:end+2]
	}
	t := &trace{size: im.spool.size}
	t.envelope, _ = message.ParseHeader(block).Envelope()
	if date := im.target.GetInternalDate(); date != nil {
		t.time = date.AsTime().Truncate(1e9) // IMAP's dates are of whole seconds
	}
	return t, nil
}
