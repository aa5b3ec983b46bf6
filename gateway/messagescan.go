package gateway

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/query"
)

// maxScanned is how much of a message's text a look reads.
const maxScanned = 1 << 20

// scan looks for messages where a search of the server only narrows them down.
type scan struct {
	*finder
	c    *imapconn.Conn
	plan *query.Plan

	candidates imap.UIDSet
	certain    imap.UIDSet
	known      []imap.UIDSet

	found   []imap.UID // the highest first
	lowest  imap.UID   // what was looked at last
	at      time.Time  // when that arrived
	stopped bool       // the budget did not last
}

// run finds messages below a UID until there are enough.
func (s *scan) run(ctx context.Context, before imap.UID, enough int) error {
	if before == 1 {
		return nil // nothing lies below
	}
	// The session must have been told of all that the search is to see.
	err := s.c.Noop(ctx)
	if err != nil {
		return err
	}
	if s.candidates, err = s.search(ctx, belowUID(s.plan.Search, before)); err != nil {
		return err
	}
	if s.plan.Certain != nil {
		if s.certain, err = s.search(ctx, belowUID(s.plan.Certain, before)); err != nil {
			return err
		}
	}
	for _, criteria := range s.plan.Known {
		set, err := s.search(ctx, belowUID(criteria, before))
		if err != nil {
			return err
		}
		s.known = append(s.known, set)
	}
	for len(s.found) < enough {
		var step []imap.UID
		if step, s.candidates = takeHighest(s.candidates, scanStep); len(step) == 0 {
			return nil
		}
		if err := s.look(ctx, step); err != nil || s.stopped {
			return err
		}
	}
	return nil
}

func (s *scan) search(ctx context.Context, criteria *query.Criteria) (imap.UIDSet, error) {
	data, err := s.c.Search(ctx, criteria, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	return data.All, nil
}

// look decides about messages, the highest first.
func (s *scan) look(ctx context.Context, step []imap.UID) error {
	cost := 1
	if s.plan.Needs.Message {
		cost = readCost
	}
	var doubtful []imap.UID
	for i, uid := range step {
		if s.certain.Contains(uid) {
			continue
		}
		if !s.spend(cost) {
			step, s.stopped = step[:i], true
			break
		}
		doubtful = append(doubtful, uid)
	}
	facts, err := s.facts(ctx, doubtful)
	if err != nil {
		return err
	}
	for _, uid := range step {
		s.lowest = uid
		f := facts[uid]
		if f != nil {
			s.at = f.InternalDate
		}
		if s.certain.Contains(uid) || f != nil && s.plan.Match(f) {
			s.found = append(s.found, uid)
		}
	}
	return nil
}

// finding fetches the page that was found.
func (s *scan) finding(ctx context.Context, o findOptions) (*finding, error) {
	page := &finding{more: s.stopped || len(s.found) > o.size}
	if s.stopped && len(s.found) <= o.size {
		page.scanned, page.scannedAt = s.lowest, s.at
		if s.lowest == 0 {
			// Nothing could be looked at any more. Mail that comes from now on is
			// not part of the list.
			page.scanned, page.scannedAt = cmp.Or(o.before, s.c.SelectData().UIDNext), time.Now()
		}
	}
	uids := s.found[:min(len(s.found), o.size)]
	if len(uids) == 0 {
		return page, nil
	}
	var err error
	page.messages, err = fetchUIDs(ctx, s.c, uids, o.fetch)
	return page, err
}

// facts fetches what the plan needs to know of messages. Those that have gone
// have none.
func (s *scan) facts(ctx context.Context, uids []imap.UID) (map[imap.UID]*query.Facts, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	needs := s.plan.Needs
	opts := &imapconn.FetchOptions{}
	opts.RFC822Size, opts.InternalDate = true, true
	headers := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: needs.Headers, Peek: true}
	whole := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: maxScanned}}
	switch {
	case needs.Message:
		opts.BodySection = []*imap.FetchItemBodySection{whole}
	case len(needs.Headers) > 0:
		opts.BodySection = []*imap.FetchItemBodySection{headers}
	}
	if needs.Structure {
		opts.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	}
	facts := make(map[imap.UID]*query.Facts, len(uids))
	var untold []imap.UID
	err := s.c.Fetch(ctx, imap.UIDSetNum(uids...), opts, func(m *imapconn.FetchMessage) error {
		if m.Size == 0 {
			return nil // news of flags
		}
		f := &query.Facts{InternalDate: m.InternalDate}
		for _, set := range s.known {
			f.Known = append(f.Known, set.Contains(m.UID))
		}
		if block, ok := m.Section(headers); ok {
			f.Header = message.ParseHeader(block)
		}
		if raw, ok := m.Section(whole); ok {
			if err := readFacts(f, bytes.NewReader(raw)); err != nil {
				return err
			}
		}
		if needs.Structure {
			summary := message.FromEnvelope(nil, m.BodyStructure)
			if slices.Contains(summary.Defects, message.DefectStructureMissing) {
				untold = append(untold, m.UID)
			}
			setAttachments(f, &summary)
		}
		facts[m.UID] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return facts, s.readStructures(ctx, untold, facts)
}

// readStructures reads messages whose structure the server cannot tell.
func (s *scan) readStructures(ctx context.Context, uids []imap.UID, facts map[imap.UID]*query.Facts) error {
	for _, uid := range uids {
		if !s.spend(readCost) {
			break // the budget is a bound, not a promise to look at fewer
		}
		err := fetchRaw(ctx, s.c, uid, func(raw *imapconn.BodySection) error {
			walked, err := message.Walk(raw.Literal, message.DefaultLimits, func(*message.Part, io.Reader) error { return nil })
			if err != nil {
				return err
			}
			summary := walked.Summary()
			setAttachments(facts[uid], &summary)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func setAttachments(f *query.Facts, s *message.Summary) {
	f.Attached = s.HasAttachment
	f.Filenames = nil
	for _, part := range s.Attachments {
		if part.Filename != "" {
			f.Filenames = append(f.Filenames, part.Filename)
		}
	}
}

// readFacts reads the header and the text of a message.
func readFacts(f *query.Facts, raw io.Reader) error {
	var text strings.Builder
	walked, err := message.Walk(raw, message.DefaultLimits, func(p *message.Part, body io.Reader) error {
		var part message.Text
		var err error
		switch p.Type {
		case "text/plain":
			part, err = message.ReadText(body, p, maxScanned)
		case "text/html":
			part, err = message.ReadHTMLAsText(body, p, maxScanned)
		}
		text.WriteString(part.Content)
		text.WriteByte('\n')
		return err
	})
	if err != nil {
		return err
	}
	f.Header, f.Text = walked.Header, text.String()
	summary := walked.Summary()
	setAttachments(f, &summary)
	return nil
}

// fetchUIDs fetches messages of the selected mailbox and gives them in the
// order of their UIDs in the list. Those that are gone are left out, after a look
// at the mailbox as it is now: a session that has not been told of a message
// answers as if it were not there, and another may have found it.
func fetchUIDs(ctx context.Context, c *imapconn.Conn, uids []imap.UID, opts *imapconn.FetchOptions) ([]*imapconn.FetchMessage, error) {
	wanted := *opts
	wanted.RFC822Size = true // tells answers from news of flags
	byUID := make(map[imap.UID]*imapconn.FetchMessage, len(uids))
	fetch := func(missing []imap.UID) error {
		return c.Fetch(ctx, imap.UIDSetNum(missing...), &wanted, func(m *imapconn.FetchMessage) error {
			if _, there := byUID[m.UID]; !there || m.Size > 0 {
				byUID[m.UID] = m
			}
			return nil
		})
	}
	missing := uids
	for attempt := 0; attempt < 2 && len(missing) > 0; attempt++ {
		if attempt > 0 {
			if err := c.Noop(ctx); err != nil {
				return nil, err
			}
		}
		if err := fetch(missing); err != nil {
			return nil, err
		}
		missing = slices.DeleteFunc(slices.Clone(missing), func(uid imap.UID) bool { return byUID[uid] != nil })
	}
	var list []*imapconn.FetchMessage
	for _, uid := range uids {
		if m := byUID[uid]; m != nil {
			list = append(list, m)
		}
	}
	return list, nil
}
