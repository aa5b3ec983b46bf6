package imapconn

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapwire"
)

// SortKey is a key to sort messages by (RFC 5256 section 3, RFC 5957).
type SortKey string

// The keys of SORT. The last two need SORT=DISPLAY.
const (
	SortArrival     SortKey = "ARRIVAL"
	SortCc          SortKey = "CC"
	SortDate        SortKey = "DATE"
	SortFrom        SortKey = "FROM"
	SortSize        SortKey = "SIZE"
	SortSubject     SortKey = "SUBJECT"
	SortTo          SortKey = "TO"
	SortDisplayFrom SortKey = "DISPLAYFROM"
	SortDisplayTo   SortKey = "DISPLAYTO"
)

// SortCriterion is a key and its direction.
type SortCriterion struct {
	Key     SortKey
	Reverse bool
}

// Sort returns the UIDs of the messages that match, in order (RFC 5256). It
// fails without SORT.
func (c *Conn) Sort(ctx context.Context, by []SortCriterion, criteria *SearchCriteria) ([]imap.UID, error) {
	if err := c.canSort("SORT", imap.CapSort); err != nil {
		return nil, err
	}
	var data *imapwire.SortData
	read := exactly("SORT", func(imapwire.Response) (err error) {
		data, err = c.dec.Sort()
		return err
	})
	cmd := &command{name: "UID SORT", data: read, encode: func(e *imapwire.Encoder) {
		e.Atom("UID").SP().Atom("SORT").SP().List(len(by), func(i int) {
			if by[i].Reverse {
				e.Atom("REVERSE").SP()
			}
			e.Atom(string(by[i].Key))
		}).SP().Atom(charset(criteria)).SP().SearchCriteria(criteria)
	}}
	if _, err := c.do(ctx, cmd); err != nil {
		return nil, badCharset(err, criteria)
	}
	if data == nil && cmd.malformed != nil {
		return nil, &ProtocolError{Command: "SORT", Err: cmd.malformed}
	}
	if data == nil {
		return nil, nil
	}
	uids := make([]imap.UID, len(data.Nums))
	for i, n := range data.Nums {
		uids[i] = imap.UID(n)
	}
	return uids, nil
}

// canSort checks what SORT and THREAD need.
func (c *Conn) canSort(command string, want imap.Cap) error {
	switch {
	case c.usable() != nil:
		return c.usable()
	case !c.Has(want):
		return &CapabilityError{Command: command, Cap: want}
	case c.mailbox == nil:
		return &StateError{Command: command, Reason: "no mailbox is selected"}
	}
	return nil
}

// charset names the charset of the criteria, which SORT and THREAD always do
// (RFC 5256 section 3).
func charset(criteria *SearchCriteria) string {
	if criteria.IsASCII() {
		return "US-ASCII"
	}
	return "UTF-8"
}
