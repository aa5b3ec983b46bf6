package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
	"github.com/postern-mail/postern/internal/thread"
)

// threadSteps bounds how many steps of messages a page of threads is looked for
// in: one long conversation hides many messages.
const threadSteps = 10

// byServerID gathers conversations where the server gives each message the id of
// its thread: it goes down the folder until there are enough, and asks for the
// rest of each thread that it meets.
func (p *threadPage) byServerID(ctx context.Context, c *imapconn.Conn, matches imap.UIDSet) error {
	met := make(map[threadID]bool)
	left, from := below(matches, p.last), p.last
	lowest := from
	for range threadSteps {
		var step []imap.UID
		if step, left = takeHighest(left, scanStep); len(step) == 0 {
			return nil
		}
		lowest = step[len(step)-1]
		ids, err := p.fetchIDs(ctx, c, step)
		if err != nil {
			return err
		}
		var order []threadID
		for _, uid := range step {
			if id, ok := ids[uid]; ok && !met[id] {
				met[id] = true
				order = append(order, id)
			}
		}
		members, err := p.members(ctx, c, order, ids, matches)
		if err != nil {
			return err
		}
		for _, id := range order {
			t := conversation{id: id, uids: members[id]}
			if len(t.uids) == 0 || from > 0 && t.uids[0] >= from {
				continue // it was on a page before
			}
			if !p.take(t) {
				return nil
			}
		}
	}
	p.more, p.last = len(left) > 0, lowest
	return nil
}

// fetchIDs fetches the ids of messages' threads. A message without one is a
// thread by itself.
func (p *threadPage) fetchIDs(ctx context.Context, c *imapconn.Conn, uids []imap.UID) (map[imap.UID]threadID, error) {
	list, err := fetchUIDs(ctx, c, uids, &imapconn.FetchOptions{ThreadID: true, GmailThreadID: true})
	ids := make(map[imap.UID]threadID, len(list))
	for _, m := range list {
		id, ok := serverThread(m)
		if !ok {
			id = threadID{threadOfOne, folder.MessageID{Folder: p.key, UIDValidity: p.validity, UID: m.UID}.String()}
		}
		ids[m.UID] = id
	}
	return ids, err
}

// members are the messages of threads, among those that match, the highest UID
// first.
func (p *threadPage) members(
	ctx context.Context, c *imapconn.Conn, threads []threadID, ids map[imap.UID]threadID, matches imap.UIDSet,
) (map[threadID][]imap.UID, error) {
	var each []imapconn.SearchCriteria
	for _, id := range threads {
		if id.kind != threadOfOne {
			each = append(each, *id.criteria())
		}
	}
	if len(each) > 0 {
		data, err := c.Search(ctx, belowUID(anyOf(each), p.before), &imapconn.SearchOptions{ReturnAll: true})
		if err != nil {
			return nil, err
		}
		var others []imap.UID
		rest := data.All
		for len(rest) > 0 {
			var step []imap.UID
			step, rest = takeHighest(rest, scanStep)
			for _, uid := range step {
				if _, known := ids[uid]; !known && matches.Contains(uid) {
					others = append(others, uid)
				}
			}
		}
		more, err := p.fetchIDs(ctx, c, others)
		if err != nil {
			return nil, err
		}
		for uid, id := range more {
			ids[uid] = id
		}
	}
	members := make(map[threadID][]imap.UID)
	for uid, id := range ids {
		members[id] = append(members[id], uid)
	}
	for _, uids := range members {
		slices.SortFunc(uids, func(a, b imap.UID) int { return cmp.Compare(b, a) })
	}
	return members, nil
}

// anyOf finds what one of several searches finds.
func anyOf(each []imapconn.SearchCriteria) *imapconn.SearchCriteria {
	if len(each) == 1 {
		return &each[0]
	}
	middle := len(each) / 2
	return &imapconn.SearchCriteria{Or: [][2]imapconn.SearchCriteria{{*anyOf(each[:middle]), *anyOf(each[middle:])}}}
}

// below is what of a set lies below a UID, unless that is 0.
func below(set imap.UIDSet, uid imap.UID) imap.UIDSet {
	if uid == 0 {
		return slices.Clone(set)
	}
	var part imap.UIDSet
	for _, r := range set {
		if r.Start < uid {
			part = append(part, imap.UIDRange{Start: r.Start, Stop: min(r.Stop, uid-1)})
		}
	}
	return part
}

// tree is a conversation of which a header has yet to tell the id.
type tree struct {
	uids  []imap.UID // the highest first
	first imap.UID   // the message that it begins with
}

// byServerTree gathers conversations where the server makes trees of a folder's
// messages.
func (p *threadPage) byServerTree(ctx context.Context, c *imapconn.Conn, matches imap.UIDSet) error {
	nodes, err := c.Thread(ctx, imap.ThreadReferences, belowUID(&imapconn.SearchCriteria{}, p.before))
	if err != nil {
		return err
	}
	var trees []*tree
	of := make([]*tree, len(nodes))
	for i, n := range nodes {
		if n.Parent < 0 {
			of[i] = &tree{}
			trees = append(trees, of[i])
		} else {
			of[i] = of[n.Parent]
		}
		if uid := imap.UID(n.Num); uid > 0 {
			of[i].first = cmp.Or(of[i].first, uid)
			if matches.Contains(uid) {
				of[i].uids = append(of[i].uids, uid)
			}
		}
	}
	trees = slices.DeleteFunc(trees, func(t *tree) bool { return len(t.uids) == 0 })
	for _, t := range trees {
		slices.SortFunc(t.uids, func(a, b imap.UID) int { return cmp.Compare(b, a) })
	}
	slices.SortFunc(trees, func(a, b *tree) int { return cmp.Compare(b.uids[0], a.uids[0]) })
	if p.last > 0 {
		trees = slices.DeleteFunc(trees, func(t *tree) bool { return t.uids[0] >= p.last })
	}
	for step := range slices.Chunk(trees, p.size+1) {
		var firsts []imap.UID
		for _, t := range step {
			firsts = append(firsts, t.first)
		}
		headers, err := fetchThreadHeaders(ctx, c, firsts)
		if err != nil {
			return err
		}
		for _, t := range step {
			if !p.take(conversation{id: p.rooted(headers[t.first].root(), t.first), uids: t.uids}) {
				return nil
			}
		}
	}
	return nil
}

func (p *threadPage) rooted(root string, uid imap.UID) threadID {
	return rootedThread(root, folder.MessageID{Folder: p.key, UIDValidity: p.validity, UID: uid})
}

// byHeaders gathers conversations from the headers of the newest messages.
func (p *threadPage) byHeaders(ctx context.Context, c *imapconn.Conn, matches imap.UIDSet) error {
	window, older := takeHighest(slices.Clone(matches), p.window)
	p.exceeded = len(older) > 0
	headers, err := fetchThreadHeaders(ctx, c, window)
	if err != nil {
		return err
	}
	var uids []imap.UID
	var messages []thread.Message
	for _, uid := range window {
		if h, ok := headers[uid]; ok {
			uids, messages = append(uids, uid), append(messages, h.Message)
		}
	}
	var all []conversation
	for _, t := range thread.Build(messages) {
		conv := conversation{id: p.rooted(t.Root, uids[t.Messages[0]])}
		for _, i := range t.Messages {
			conv.uids = append(conv.uids, uids[i])
		}
		slices.SortFunc(conv.uids, func(a, b imap.UID) int { return cmp.Compare(b, a) })
		all = append(all, conv)
	}
	slices.SortFunc(all, func(a, b conversation) int { return cmp.Compare(b.uids[0], a.uids[0]) })
	last := p.last
	for _, conv := range all {
		if last > 0 && conv.uids[0] >= last {
			continue
		}
		if !p.take(conv) {
			return nil
		}
	}
	return nil
}

// threadHeader is what of a message decides where it belongs.
type threadHeader struct {
	thread.Message
	arrived time.Time
}

// root is the Message-ID that its thread began with, as far as it knows.
func (h threadHeader) root() string {
	if len(h.References) > 0 {
		return h.References[0]
	}
	return h.ID
}

var threadSection = &imap.FetchItemBodySection{
	Specifier: imap.PartSpecifierHeader, Peek: true,
	HeaderFields: []string{"Message-ID", "References", "In-Reply-To", "Subject", "Date"},
}

// fetchThreadHeaders fetches what decides where messages belong.
func fetchThreadHeaders(ctx context.Context, c *imapconn.Conn, uids []imap.UID) (map[imap.UID]threadHeader, error) {
	opts := &imapconn.FetchOptions{}
	opts.InternalDate = true
	opts.BodySection = []*imap.FetchItemBodySection{threadSection}
	list, err := fetchUIDs(ctx, c, uids, opts)
	headers := make(map[imap.UID]threadHeader, len(list))
	for _, m := range list {
		block, _ := m.Section(threadSection)
		e, _ := message.ParseHeader(block).Envelope()
		h := threadHeader{arrived: m.InternalDate}
		h.Message = thread.Message{ID: e.MessageID, References: e.References, Subject: e.Subject, Date: e.Date}
		if len(h.References) == 0 {
			// RFC 5256 section 3: the first of In-Reply-To stands in.
			h.References = e.InReplyTo[:min(len(e.InReplyTo), 1)]
		}
		if h.Date.IsZero() {
			h.Date = m.InternalDate
		}
		headers[m.UID] = h
	}
	return headers, err
}
