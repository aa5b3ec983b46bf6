package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/query"
)

// listing is a list of messages that is asked for, understood.
type listing struct {
	req     *posternv1.ListMessagesRequest
	account *account.Account
	find    *finder
	view    posternv1.Message_View
	size    int
	paths   []maskPath
}

// ListMessages implements MessageService.
func (s *messageService) ListMessages(ctx context.Context, req *posternv1.ListMessagesRequest) (*posternv1.ListMessagesResponse, error) {
	filter, err := parseFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	l := listing{
		req: req, find: newFinder(filter, time.Now()), view: metadataUnless(req.GetView()), size: pageSize(req.GetPageSize()),
	}
	if l.paths, err = readPaths(req.GetReadMask(), messageFields, "read_mask"); err != nil {
		return nil, err
	}
	if l.account, err = s.accounts.Get(ctx, accountID(req.GetParent())); err != nil {
		return nil, err
	}
	var resp *posternv1.ListMessagesResponse
	switch {
	case req.GetOrderBy() != "":
		resp, err = s.listSorted(ctx, &l)
	case req.GetFolder() == "":
		resp, err = s.listAll(ctx, &l)
	default:
		resp, err = s.listFolder(ctx, &l)
	}
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	for _, m := range resp.GetMessages() {
		keep(m, l.paths)
	}
	return resp, nil
}

// parseFilter reads the filter of a list of messages; nil stands for none.
func parseFilter(text string) (query.Expr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	filter, err := query.Parse(text)
	if err != nil {
		return nil, err
	}
	// A fault is told even where there is nothing to search.
	return filter, query.Check(filter)
}

func metadataUnless(view posternv1.Message_View) posternv1.Message_View {
	if view == posternv1.Message_VIEW_UNSPECIFIED {
		return posternv1.Message_METADATA
	}
	return view
}

// position opens the token of the list's next page, or gives nothing on the
// first. Ages in the filter go on counting from when that was asked for.
func (s *messageService) position(l *listing) ([]byte, error) {
	b, err := s.pager.position(l.req)
	if err != nil || b == nil {
		return nil, err
	}
	unix, size := binary.Varint(b)
	if size <= 0 {
		return nil, errPosition
	}
	l.find.now = time.Unix(unix, 0)
	return b[size:], nil
}

// nextToken seals a position for the next page.
func (s *messageService) nextToken(l *listing, position []byte) (string, error) {
	return s.pager.token(l.req, append(binary.AppendVarint(nil, l.find.now.Unix()), position...))
}

// folderOf is the folder that the list is of.
func (s *messageService) folderOf(ctx context.Context, l *listing) (folder.Folder, error) {
	return s.namedFolder(ctx, l.account.ID, "folder", l.req.GetFolder())
}

// folderPosition is where the next page of a folder begins: below a UID. It
// holds under a UIDVALIDITY only.
type folderPosition struct {
	validity uint32
	before   imap.UID
}

func (p folderPosition) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(p.validity))
	return binary.AppendUvarint(b, uint64(p.before))
}

// errPosition: the token was ours and says nothing that this version gives out.
var errPosition = errors.New("page token has an unknown form")

func readFolderPosition(b []byte) (p folderPosition, rest []byte, err error) {
	var numbers [2]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > 1<<32-1 {
			return p, nil, errPosition
		}
		numbers[i], b = n, b[size:]
	}
	return folderPosition{validity: uint32(numbers[0]), before: imap.UID(numbers[1])}, b, nil
}

// listFolder lists one folder, the highest UID first: one round trip on a
// connection that has the folder open.
func (s *messageService) listFolder(ctx context.Context, l *listing) (*posternv1.ListMessagesResponse, error) {
	f, err := s.folderOf(ctx, l)
	if err != nil {
		return nil, err
	}
	sealed, err := s.position(l)
	if err != nil {
		return nil, err
	}
	var position folderPosition
	if sealed != nil {
		if position, _, err = readFolderPosition(sealed); err != nil {
			return nil, err
		}
	}
	resp := &posternv1.ListMessagesResponse{}
	err = s.mailboxes.Do(ctx, l.account.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		validity, err := checkValidity(c, position)
		if err != nil {
			return err
		}
		page, err := l.find.page(ctx, c, findOptions{size: l.size, before: position.before, fetch: viewOptions(l.view, l.paths)})
		if err != nil {
			return err
		}
		if resp.Messages, err = l.messages(ctx, c, f.Key, page.messages); err != nil {
			return err
		}
		if !page.more {
			return nil
		}
		next := folderPosition{validity: validity, before: position.before}
		switch n := len(page.messages); {
		case page.scanned > 0:
			next.before = page.scanned
		case n > 0:
			next.before = page.messages[n-1].UID
		}
		resp.NextPageToken, err = s.nextToken(l, next.appendTo(nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// checkValidity compares the UIDVALIDITY of the selected mailbox with that of
// a page token, and returns it.
func checkValidity(c *imapconn.Conn, position folderPosition) (uint32, error) {
	validity := c.SelectData().UIDValidity
	if position.before != 0 && position.validity != validity {
		return 0, refuse(codes.Aborted, reasonUIDValidityChanged,
			"The mail server has renumbered the folder since the first page: begin the list anew, without a page token.")
	}
	return validity, nil
}

// messages turns what was fetched from the selected mailbox into answers.
func (l *listing) messages(ctx context.Context, c *imapconn.Conn, key folder.Key, list []*imapconn.FetchMessage) ([]*posternv1.Message, error) {
	envelopes, err := account.ReadEnvelopes(ctx, c, list)
	if err != nil {
		return nil, err
	}
	completeLabels(c, list...)
	validity := c.SelectData().UIDValidity
	a := pinned(l.account, c.Caps())
	out := make([]*posternv1.Message, len(list))
	var unread snippets
	for i, m := range list {
		id := folder.MessageID{Folder: key, UIDValidity: validity, UID: m.UID}
		var body *message.Part
		if out[i], body = messageProto(a, id, m, l.view, envelopes[m.UID]); body != nil {
			unread.add(m.UID, body, out[i])
		}
	}
	if len(l.paths) == 0 || names(l.paths, "snippet") {
		err = unread.read(ctx, c)
	}
	return out, err
}
