package gateway

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// sortKeys are the orders that IMAP servers with SORT know (RFC 5256).
var sortKeys = map[string]imapconn.SortKey{
	"date": imapconn.SortDate, "from": imapconn.SortFrom, "to": imapconn.SortTo, "cc": imapconn.SortCc,
	"subject": imapconn.SortSubject, "size": imapconn.SortSize, "internal_date": imapconn.SortArrival,
	"internalDate": imapconn.SortArrival,
}

func parseOrder(text string) ([]imapconn.SortCriterion, error) {
	field, direction, _ := strings.Cut(strings.TrimSpace(text), " ")
	key, ok := sortKeys[field]
	if direction = strings.TrimSpace(direction); !ok || direction != "" && direction != "desc" {
		return nil, refuseField("order_by", reasonOrderByUnsupported,
			"There is no order %q: there are date, from, to, cc, subject, size and internal_date, each also with \" desc\".", said(text))
	}
	return []imapconn.SortCriterion{{Key: key, Reverse: direction == "desc"}}, nil
}

// anchors is how many of the last messages a sorted page's token remembers, of
// that page and of those before. An order by subject has no number to go on
// below, so the next page follows the last one of them that is still there.
const anchors = 64

// sortedPosition is where the next page of a sorted list begins.
type sortedPosition struct {
	folderPosition // before is the first UID that came after the first page
	offset         int
	last           []imap.UID // the newest last
}

func (p sortedPosition) encode() []byte {
	b := p.folderPosition.appendTo(nil)
	b = binary.AppendUvarint(b, uint64(p.offset))
	for _, uid := range p.last {
		b = binary.AppendUvarint(b, uint64(uid))
	}
	return b
}

func readSortedPosition(b []byte) (p sortedPosition, err error) {
	if p.folderPosition, b, err = readFolderPosition(b); err != nil {
		return p, err
	}
	offset, size := binary.Uvarint(b)
	if size <= 0 || offset > 1<<32-1 {
		return p, errPosition
	}
	p.offset = int(offset)
	for b = b[size:]; len(b) > 0; b = b[size:] {
		var uid uint64
		if uid, size = binary.Uvarint(b); size <= 0 || uid > 1<<32-1 {
			return p, errPosition
		}
		p.last = append(p.last, imap.UID(uid))
	}
	return p, nil
}

// rest is what of the order comes after the position. Where all of the remembered
// messages are gone, what was before them is before the rest, too.
func (p sortedPosition) rest(order []imap.UID) []imap.UID {
	for _, uid := range slices.Backward(p.last) {
		if i := slices.Index(order, uid); i >= 0 {
			return order[i+1:]
		}
	}
	return order[min(max(p.offset-len(p.last), 0), len(order)):]
}

// listSorted lists one folder in another order than that of arrival, where
// the server can sort. Mail that came after the first page is left out, so it
// does not shift the pages.
func (s *messageService) listSorted(ctx context.Context, l *listing) (*posternv1.ListMessagesResponse, error) {
	order, err := parseOrder(l.req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	unsupported := func(why string) error { return refuseField("order_by", reasonOrderByUnsupported, "%s", why) }
	if l.req.GetFolder() == "" {
		return nil, unsupported("Only the messages of one folder can be sorted: name a folder, or leave order_by out.")
	}
	f, err := s.folderOf(ctx, l)
	if err != nil {
		return nil, err
	}
	sealed, err := s.position(l)
	if err != nil {
		return nil, err
	}
	var position sortedPosition
	if sealed != nil {
		if position, err = readSortedPosition(sealed); err != nil {
			return nil, err
		}
	}
	resp := &posternv1.ListMessagesResponse{}
	err = s.mailboxes.Do(ctx, l.account.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		if !c.Has(imap.CapSort) {
			return unsupported("This account's mail server cannot sort: leave order_by out to get the newest arrivals first.")
		}
		var next []byte
		resp.Messages, next, err = l.sortedPage(ctx, c, f.Key, order, position)
		if err != nil || next == nil {
			return err
		}
		resp.NextPageToken, err = s.nextToken(l, next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// sortedPage gives a page, and the position of the next one or nil.
func (l *listing) sortedPage(
	ctx context.Context, c *imapconn.Conn, key folder.Key, order []imapconn.SortCriterion, position sortedPosition,
) ([]*posternv1.Message, []byte, error) {
	validity, err := checkValidity(c, position.folderPosition)
	if err != nil {
		return nil, nil, err
	}
	// The session must have been told of all that the pages show.
	if err := c.Noop(ctx); err != nil {
		return nil, nil, err
	}
	uids, err := l.find.sorted(ctx, c, order, position.before)
	if err != nil {
		return nil, nil, err
	}
	next := sortedPosition{folderPosition: folderPosition{validity: validity, before: position.before}}
	if next.before == 0 && len(uids) > 0 {
		next.before = slices.Max(uids) + 1
	}
	rest := position.rest(uids)
	page := rest[:min(l.size, len(rest))]
	messages, err := l.fetchOrdered(ctx, c, key, page)
	if err != nil || len(page) == len(rest) {
		return messages, nil, err
	}
	next.offset = len(uids) - len(rest) + len(page)
	next.last = slices.Concat(position.last, page)
	next.last = next.last[max(0, len(next.last)-anchors):]
	return messages, next.encode(), nil
}

// fetchOrdered fetches messages and gives them in the order of their UIDs in
// the list. Those that are gone are left out.
func (l *listing) fetchOrdered(ctx context.Context, c *imapconn.Conn, key folder.Key, uids []imap.UID) ([]*posternv1.Message, error) {
	list, err := fetchUIDs(ctx, c, uids, viewOptions(l.view, l.paths))
	if err != nil {
		return nil, err
	}
	return l.messages(ctx, c, key, list)
}
