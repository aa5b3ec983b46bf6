package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

const (
	defaultThreads = 20
	defaultWindow  = 1000
	// maxListedMessages bounds the messages of each thread in a list.
	maxListedMessages = 50
)

// threadService implements ThreadService.
type threadService struct {
	posternv1.UnimplementedThreadServiceServer
	messages *messageService
	pager    pager
}

// conversation is a thread of one folder.
type conversation struct {
	id   threadID
	uids []imap.UID // the highest first, at least one
}

// ListThreads implements ThreadService.
func (s *threadService) ListThreads(ctx context.Context, req *posternv1.ListThreadsRequest) (*posternv1.ListThreadsResponse, error) {
	filter, err := parseFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	l := &listing{
		req:  &posternv1.ListMessagesRequest{Parent: req.GetParent(), Folder: req.GetFolder()},
		find: newFinder(filter, time.Now()), view: metadataUnless(req.GetView()), size: int(req.GetPageSize()),
	}
	if l.size == 0 {
		l.size = defaultThreads
	}
	if l.account, err = s.messages.accounts.Get(ctx, accountID(req.GetParent())); err != nil {
		return nil, err
	}
	f, err := s.folderOf(ctx, l)
	if err != nil {
		return nil, err
	}
	p := threadPage{listing: l, key: f.Key, window: int(req.GetWindow())}
	if p.window == 0 {
		p.window = defaultWindow
	}
	if err := s.readPosition(req, &p); err != nil {
		return nil, err
	}
	var resp *posternv1.ListThreadsResponse
	start := p
	err = s.messages.mailboxes.Do(ctx, l.account.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		p = start
		resp, err = p.read(ctx, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list threads: %w", err)
	}
	if p.more {
		resp.NextPageToken, err = s.pager.token(req, p.encode())
	}
	return resp, err
}

// folderOf is the folder that is asked for, or the one where mail is read.
func (s *threadService) folderOf(ctx context.Context, l *listing) (folder.Folder, error) {
	if l.req.GetFolder() != "" {
		return s.messages.folderOf(ctx, l)
	}
	all, err := s.messages.lister.list(ctx, l.account.ID, nil)
	if err != nil {
		return folder.Folder{}, err
	}
	wanted := folder.RoleInbox
	if all.gmail {
		wanted = folder.RoleAll
	}
	for _, f := range all.folders {
		if f.role == wanted && f.selectable {
			return f.Folder, nil
		}
	}
	return folder.Folder{}, folder.ErrNotFound
}

// threadPage is a page of a folder's threads, on its way.
type threadPage struct {
	*listing
	key    folder.Key
	window int

	// The position: before is the first UID that came after the first page,
	// last the newest one of the last thread so far.
	folderPosition
	last imap.UID
	// listed are the threads so far, as far as there is room: one whose newest
	// message is expunged would come again.
	listed []threadHash

	conversations []conversation
	more          bool
	exceeded      bool
}

// threadHash stands for a thread in a token.
type threadHash [6]byte

// maxThreadHashes keeps the token within what requests take.
const maxThreadHashes = 1400

func (id threadID) hash() threadHash {
	sum := sha256.Sum256([]byte(id.String()))
	return threadHash(sum[:len(threadHash{})])
}

func (p *threadPage) encode() []byte {
	b := binary.AppendVarint(nil, p.find.now.Unix())
	b = p.folderPosition.appendTo(b)
	b = binary.AppendUvarint(b, uint64(p.last))
	for _, h := range p.listed[max(0, len(p.listed)-maxThreadHashes):] {
		b = append(b, h[:]...)
	}
	return b
}

func (s *threadService) readPosition(req *posternv1.ListThreadsRequest, p *threadPage) error {
	b, err := s.pager.position(req)
	if err != nil || b == nil {
		return err
	}
	unix, size := binary.Varint(b)
	if size <= 0 {
		return errPosition
	}
	p.find.now = time.Unix(unix, 0)
	if p.folderPosition, b, err = readFolderPosition(b[size:]); err != nil {
		return err
	}
	last, size := binary.Uvarint(b)
	if size <= 0 || last > 1<<32-1 {
		return errPosition
	}
	p.last = imap.UID(last)
	for h := range slices.Chunk(b[size:], len(threadHash{})) {
		if len(h) != len(threadHash{}) {
			return errPosition
		}
		p.listed = append(p.listed, threadHash(h))
	}
	return nil
}

// read reads the page from the selected mailbox.
func (p *threadPage) read(ctx context.Context, c *imapconn.Conn) (*posternv1.ListThreadsResponse, error) {
	p.conversations, p.more, p.exceeded = nil, false, false
	var err error
	if p.validity, err = checkValidity(c, p.folderPosition); err != nil {
		return nil, err
	}
	matches, err := p.find.all(ctx, c, p.before)
	if err != nil {
		return nil, err
	}
	if len(matches) == 0 {
		return &posternv1.ListThreadsResponse{}, nil
	}
	if p.before == 0 {
		p.before = matches[len(matches)-1].Stop + 1
	}
	source := threadSource(c)
	switch source {
	case posternv1.Thread_OBJECTID, posternv1.Thread_GMAIL:
		err = p.byServerID(ctx, c, matches)
	case posternv1.Thread_THREAD_REFERENCES:
		err = p.byServerTree(ctx, c, matches)
	default:
		err = p.byHeaders(ctx, c, matches)
	}
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListThreadsResponse{WindowExceeded: p.exceeded}
	resp.Threads, err = p.threads(ctx, c, source)
	return resp, err
}

// take takes a thread into the page, unless it was in one before. It reports
// false when the page is full.
func (p *threadPage) take(t conversation) bool {
	if slices.Contains(p.listed, t.id.hash()) {
		return true
	}
	if len(p.conversations) == p.size {
		p.more = true
		return false
	}
	p.conversations = append(p.conversations, t)
	p.listed = append(p.listed, t.id.hash())
	p.last = t.uids[0]
	return true
}

// threads fetches the messages of the page's conversations.
func (p *threadPage) threads(ctx context.Context, c *imapconn.Conn, source posternv1.Thread_Source) ([]*posternv1.Thread, error) {
	var uids []imap.UID
	for _, t := range p.conversations {
		uids = append(uids, t.uids[:min(len(t.uids), maxListedMessages)]...)
	}
	messages, err := p.fetchOrdered(ctx, c, p.key, uids)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*posternv1.Message, len(messages))
	for _, m := range messages {
		byName[m.GetName()] = m
	}
	var threads []*posternv1.Thread
	for _, t := range p.conversations {
		var list []*posternv1.Message
		for _, uid := range t.uids {
			name := event.MessageName(p.account.ID, folder.MessageID{Folder: p.key, UIDValidity: p.validity, UID: uid})
			if m := byName[name]; m != nil {
				list = append(list, m)
			}
		}
		if len(list) > 0 { // else it has gone meanwhile
			threads = append(threads, threadProto(p.account.ID, t.id, source, list, len(t.uids)))
		}
	}
	return threads, nil
}

// threadProto is a thread of messages, the newest first.
func threadProto(account string, id threadID, source posternv1.Thread_Source, messages []*posternv1.Message, count int) *posternv1.Thread {
	t := &posternv1.Thread{
		Name: id.name(account), Source: source, Messages: messages, MessageCount: int32(count),
		Subject: messages[len(messages)-1].GetSubject(), LastMessageTime: messages[0].GetInternalDate(),
	}
	known := make(map[string]bool)
	for _, m := range messages {
		if !slices.Contains(m.GetFlags(), string(imap.FlagSeen)) {
			t.UnreadCount++
		}
		if from := m.GetFrom(); from != nil && !known[strings.ToLower(from.GetAddress())] {
			known[strings.ToLower(from.GetAddress())] = true
			t.Participants = append(t.Participants, from)
		}
	}
	return t
}
