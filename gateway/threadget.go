package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/thread"
)

const (
	// maxThread bounds the messages of a thread in an answer.
	maxThread = 500
	// maxKin bounds the messages of a folder that are looked at because they may
	// belong to a thread.
	maxKin = 1000
	// maxAsked bounds the Message-IDs that a search for answers to them names.
	maxAsked = 30
)

// GetThread implements ThreadService.
func (s *threadService) GetThread(ctx context.Context, req *posternv1.GetThreadRequest) (*posternv1.Thread, error) {
	accountID, text, _ := strings.Cut(strings.TrimPrefix(req.GetName(), "accounts/"), "/threads/")
	a, err := s.messages.accounts.Get(ctx, accountID)
	if err != nil {
		return nil, err
	}
	id, ok := parseThreadID(text)
	if !ok {
		return nil, threadNotFound(text)
	}
	g := &threadGet{service: s, id: id, listing: &listing{account: a, view: metadataUnless(req.GetView())}}
	t, err := g.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("get thread: %w", err)
	}
	return t, nil
}

func threadNotFound(id string) error {
	return refuse(codes.NotFound, reasonThreadNotFound, "There is no thread %q: its messages are gone, or it has another name by now.", said(id))
}

// threadGet gathers one thread from all folders.
type threadGet struct {
	*listing
	service *threadService
	id      threadID

	mu     sync.Mutex
	source posternv1.Thread_Source
}

func (g *threadGet) run(ctx context.Context) (*posternv1.Thread, error) {
	if g.id.kind == threadOfOne {
		return g.single(ctx)
	}
	all, err := g.service.messages.lister.list(ctx, g.account.ID, nil)
	if err != nil {
		return nil, err
	}
	var parts []*threadPart
	for _, f := range all.everything() {
		parts = append(parts, &threadPart{folder: f.Folder})
	}
	if g.id.kind == threadByMessageID {
		err = g.gather(ctx, parts)
	} else {
		err = g.each(ctx, parts, g.ask)
	}
	if err != nil {
		return nil, err
	}
	count := 0
	for _, part := range parts {
		count += len(part.uids)
	}
	if err := g.each(ctx, parts, g.fetch); err != nil {
		return nil, err
	}
	var messages []*posternv1.Message
	for _, part := range parts {
		messages = append(messages, part.messages...)
	}
	if len(messages) == 0 {
		return nil, threadNotFound(g.id.String())
	}
	slices.SortStableFunc(messages, func(x, y *posternv1.Message) int {
		return cmp.Or(y.GetInternalDate().AsTime().Compare(x.GetInternalDate().AsTime()), strings.Compare(y.GetName(), x.GetName()))
	})
	return threadProto(g.account.ID, g.id, g.source, messages[:min(len(messages), maxThread)], count), nil
}

// threadPart is what one folder has of a thread.
type threadPart struct {
	folder   folder.Folder
	validity uint32
	uids     []imap.UID // the highest first
	kin      map[imap.UID]threadHeader
	messages []*posternv1.Message
}

// each does something in every folder, a few at a time. A folder that is gone
// has nothing.
func (g *threadGet) each(ctx context.Context, parts []*threadPart, do func(context.Context, *imapconn.Conn, *threadPart) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(mergeWidth)
	for _, part := range parts {
		group.Go(func() error {
			err := g.service.messages.mailboxes.Do(groupCtx, g.account.ID, part.folder.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
				validity := c.SelectData().UIDValidity
				if part.validity != 0 && part.validity != validity {
					part.uids, part.kin = nil, nil // made anew in between
				}
				part.validity = validity
				g.mu.Lock()
				g.source = threadSource(c)
				g.mu.Unlock()
				return do(groupCtx, c, part)
			})
			if err != nil && classify(groupCtx, err).reason == reasonFolderNotFound {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// ask asks the server for the messages of a thread that it knows.
func (g *threadGet) ask(ctx context.Context, c *imapconn.Conn, part *threadPart) error {
	known := map[threadKind]posternv1.Thread_Source{
		threadByObjectID: posternv1.Thread_OBJECTID, threadByGmail: posternv1.Thread_GMAIL,
	}
	if known[g.id.kind] != threadSource(c) {
		return nil // the name is of another server, or of another time
	}
	var err error
	part.uids, err = g.search(ctx, c, g.id.criteria(), maxThread)
	return err
}

// search gives the highest UIDs that match.
func (g *threadGet) search(ctx context.Context, c *imapconn.Conn, criteria *imapconn.SearchCriteria, most int) ([]imap.UID, error) {
	if err := c.Noop(ctx); err != nil {
		return nil, err
	}
	data, err := c.Search(ctx, criteria, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return nil, err
	}
	uids, _ := takeHighest(data.All, most)
	return uids, nil
}

// gather finds the messages of a thread by their headers: those that name the
// message it began with, those that answer them, and those with its subject.
// Then they are put together as in a list.
func (g *threadGet) gather(ctx context.Context, parts []*threadPart) error {
	root := g.id.value
	if err := g.each(ctx, parts, g.kin([]string{root}, "")); err != nil {
		return err
	}
	ids, subject := g.found(parts)
	if len(ids) == 0 {
		return nil
	}
	if err := g.each(ctx, parts, g.kin(ids, subject)); err != nil {
		return err
	}
	type placement struct {
		part *threadPart
		uid  imap.UID
	}
	var placements []placement
	var messages []thread.Message
	for _, part := range parts {
		for uid, h := range part.kin {
			placements, messages = append(placements, placement{part, uid}), append(messages, h.Message)
		}
	}
	for _, t := range thread.Build(messages) {
		if !slices.ContainsFunc(t.Messages, func(i int) bool { return messages[i].ID == root || slices.Contains(messages[i].References, root) }) {
			continue
		}
		for _, i := range t.Messages {
			at := placements[i]
			at.part.uids = append(at.part.uids, at.uid)
		}
	}
	for _, part := range parts {
		slices.SortFunc(part.uids, func(a, b imap.UID) int { return cmp.Compare(b, a) })
	}
	return nil
}

// found are the Message-IDs of what was found, the newest first, and what its
// subject has in common.
func (g *threadGet) found(parts []*threadPart) (ids []string, subject string) {
	var all []threadHeader
	for _, part := range parts {
		for _, h := range part.kin {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return nil, ""
	}
	slices.SortFunc(all, func(a, b threadHeader) int { return cmp.Or(b.Date.Compare(a.Date), strings.Compare(a.ID, b.ID)) })
	subject, _ = thread.BaseSubject(all[len(all)-1].Subject)
	ids = []string{g.id.value}
	for _, h := range all {
		if h.ID != "" && !slices.Contains(ids, h.ID) && len(ids) < maxAsked {
			ids = append(ids, h.ID)
		}
	}
	return ids, subject
}

// kin finds what names one of the Message-IDs, or has a subject.
func (g *threadGet) kin(ids []string, subject string) func(context.Context, *imapconn.Conn, *threadPart) error {
	return func(ctx context.Context, c *imapconn.Conn, part *threadPart) error {
		var each []imapconn.SearchCriteria
		header := func(name, value string) {
			criteria := imapconn.SearchCriteria{}
			criteria.Header = []imap.SearchCriteriaHeaderField{{Key: name, Value: value}}
			each = append(each, criteria)
		}
		for _, id := range ids {
			header("Message-ID", id)
			header("References", id)
			header("In-Reply-To", id)
		}
		uids, err := g.search(ctx, c, anyOf(each), maxKin)
		if err == nil && subject != "" {
			each = nil
			header("Subject", subject)
			var same []imap.UID
			same, err = g.search(ctx, c, anyOf(each), maxKin)
			var refused *imapconn.BadCharsetError
			if errors.As(err, &refused) {
				err = nil // such a server tells no subjects apart
			}
			uids = append(uids, same...)
		}
		if err != nil {
			return err
		}
		slices.Sort(uids)
		uids = slices.DeleteFunc(slices.Compact(uids), func(uid imap.UID) bool { _, known := part.kin[uid]; return known })
		headers, err := fetchThreadHeaders(ctx, c, uids)
		if part.kin == nil {
			part.kin = headers
			return err
		}
		for uid, h := range headers {
			part.kin[uid] = h
		}
		return err
	}
}

// fetch fetches the messages that were found in a folder.
func (g *threadGet) fetch(ctx context.Context, c *imapconn.Conn, part *threadPart) error {
	var err error
	part.messages, err = g.fetchOrdered(ctx, c, part.folder.Key, part.uids[:min(len(part.uids), maxThread)])
	return err
}

// single is a thread of one message.
func (g *threadGet) single(ctx context.Context) (*posternv1.Thread, error) {
	p, err := g.service.messages.locate(ctx, "accounts/"+g.account.ID+"/messages/"+g.id.value)
	if err != nil {
		return nil, err
	}
	var messages []*posternv1.Message
	err = g.service.messages.open(ctx, p, readOnlyMailbox, func(c *imapconn.Conn) error {
		g.source = threadSource(c)
		if err := c.Noop(ctx); err != nil {
			return err
		}
		messages, err = g.fetchOrdered(ctx, c, p.folder.Key, []imap.UID{p.id.UID})
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, threadNotFound(g.id.String())
	}
	return threadProto(g.account.ID, g.id, g.source, messages, 1), nil
}
