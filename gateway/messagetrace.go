package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// trace is what a message is found again by in the mailbox that it was copied
// or appended to, on servers that do not tell its new UID.
type trace struct {
	envelope message.Envelope
	size     int64
	// time is the internal date; zero where the server chooses it.
	time time.Time
	// from is the lowest UID that it can have; 0 where that is not known.
	from imap.UID
}

// traceItems adds to a FETCH what traceOf needs of the answer.
func traceItems(opts *imapconn.FetchOptions) {
	opts.Envelope, opts.RFC822Size, opts.InternalDate = true, true, true
}

// traceOf is the trace of a message of the selected mailbox.
func traceOf(ctx context.Context, c *imapconn.Conn, m *imapconn.FetchMessage) (*trace, error) {
	envelopes, err := account.ReadEnvelopes(ctx, c, []*imapconn.FetchMessage{m})
	if err != nil {
		return nil, err
	}
	t := &trace{size: m.Size, time: m.InternalDate}
	if e := envelopes[m.UID]; e != nil {
		t.envelope = *e
	}
	return t, nil
}

// notBefore takes note of the next UID of the mailbox that the message is about
// to come into. A server that does not tell leaves it unknown.
func (t *trace) notBefore(ctx context.Context, c *imapconn.Conn, mailbox string) error {
	state, err := c.Status(ctx, mailbox, &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{UIDNext: true}})
	if err != nil {
		return err
	}
	t.from = state.UIDNext
	return nil
}

// maxTraced bounds the messages that are looked at for one, the newest first.
const maxTraced = 200

// find gives the UID of the message in the selected mailbox, 0 if it is not
// there. Of several it is the newest.
func (t *trace) find(ctx context.Context, c *imapconn.Conn) (imap.UID, error) {
	if err := c.Noop(ctx); err != nil { // the session may not have been told of it
		return 0, err
	}
	criteria := &imapconn.SearchCriteria{}
	if t.from > 0 {
		criteria.UID = []imap.UIDSet{{{Start: t.from, Stop: 0}}}
	} else if id := t.envelope.MessageID; id != "" {
		criteria.Header = []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: id}}
		if !criteria.IsASCII() { // not worth the trouble of a charset
			criteria.Header = nil
		}
	}
	found, err := c.Search(ctx, criteria, nil)
	if err != nil {
		return 0, err
	}
	_, candidates := splitLast(found.All, maxTraced)
	if len(candidates) == 0 {
		return 0, nil
	}
	opts := &imapconn.FetchOptions{}
	traceItems(opts)
	var list []*imapconn.FetchMessage
	err = c.Fetch(ctx, candidates, opts, func(m *imapconn.FetchMessage) error {
		list = append(list, m)
		return nil
	})
	if err != nil {
		return 0, err
	}
	envelopes, err := account.ReadEnvelopes(ctx, c, list)
	if err != nil {
		return 0, err
	}
	list = slices.DeleteFunc(list, func(m *imapconn.FetchMessage) bool {
		return m.UID < t.from || m.Size != t.size || !t.time.IsZero() && !m.InternalDate.Equal(t.time)
	})
	var best imap.UID
	for _, m := range list {
		if e := envelopes[m.UID]; e != nil && m.UID > best && t.matches(e) {
			best = m.UID
		}
	}
	// A server may tell a broken header in other words than it was written in;
	// the one message of that size which is new must be it.
	if best == 0 && t.from > 0 && len(list) == 1 {
		best = list[0].UID
	}
	return best, nil
}

func (t *trace) matches(e *message.Envelope) bool {
	var key [32]byte // both fingerprints are made here, so any key does
	return e.Fingerprint(key, t.size) == t.envelope.Fingerprint(key, t.size)
}
