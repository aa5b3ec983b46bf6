package gateway

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/query"
)

const (
	// maxMerged bounds the folders of a list over all of them: its page token
	// holds a position for each.
	maxMerged = 500
	// maxTries bounds the looks at folders whose messages go while they are read.
	maxTries = 10
	// mergeWidth is how many folders are looked at at once. The account's pool
	// has few connections, and other requests want some of them.
	mergeWidth = 2
)

// source is a folder of a list over all folders.
type source struct {
	folder.Folder
	folderPosition
	// head is when the next message of the folder arrived, as far as the last
	// page knew; it decides which folders have to be looked at for this one.
	head time.Time

	loaded bool
	next   []arrival // what was read ahead, the highest UID first
	more   bool      // there are messages below those
	// scanned and scannedAt are where looking stopped, see finding.
	scanned   imap.UID
	scannedAt time.Time
}

// arrival is a message as far as the merge looks at it.
type arrival struct {
	uid  imap.UID
	time time.Time
}

// taken is a message of the page.
type taken struct {
	from *source
	uid  imap.UID
}

// listAll lists all folders but junk and trash, the newest arrival first. Each
// folder is read in the order of its UIDs, so its own pages cannot shift, and
// the folders are merged by the time of arrival. Only folders that may have
// something for the page are looked at; on the first page that is all of them.
func (s *messageService) listAll(ctx context.Context, l *listing) (*posternv1.ListMessagesResponse, error) {
	if l.find.filter != nil && query.Uses(l.find.filter, "uid") {
		return nil, refuseField("filter", reasonFilterUnsupported, "UIDs count within one folder: name a folder to filter by uid.")
	}
	sources, err := s.sources(ctx, l)
	if err != nil {
		return nil, err
	}
	page, err := s.merge(ctx, l, sources)
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListMessagesResponse{}
	if resp.Messages, err = s.fetchTaken(ctx, l, page); err != nil {
		return nil, err
	}
	position := encodeSources(sources)
	if len(position) == 0 {
		return resp, nil
	}
	resp.NextPageToken, err = s.nextToken(l, position)
	return resp, err
}

// sources are the folders that the page may come from: those of the token, or
// at the beginning all that belong to the list.
func (s *messageService) sources(ctx context.Context, l *listing) ([]*source, error) {
	position, err := s.position(l)
	if err != nil {
		return nil, err
	}
	if position != nil {
		return s.decodeSources(ctx, l.account.ID, position)
	}
	all, err := s.lister.list(ctx, l.account.ID, &imapconn.StatusOptions{StatusOptions: imap.StatusOptions{NumMessages: true}})
	if err != nil {
		return nil, err
	}
	var sources []*source
	for _, f := range all.everything() {
		if f.status == nil || f.status.NumMessages == nil || *f.status.NumMessages > 0 {
			sources = append(sources, &source{Folder: f.Folder})
		}
	}
	if len(sources) > maxMerged {
		return nil, refuseField("folder", reasonArgumentInvalid,
			"This account has %d folders with mail, too many to list at once: name a folder.", len(sources))
	}
	return sources, s.loadAll(ctx, l, sources)
}

// loadAll looks at all folders, a few at a time.
func (s *messageService) loadAll(ctx context.Context, l *listing, sources []*source) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(mergeWidth)
	for _, from := range sources {
		group.Go(func() error { return s.load(ctx, l, from, l.size+1) })
	}
	return group.Wait()
}

// load reads the next messages of a folder ahead. A folder that is gone has
// none.
func (s *messageService) load(ctx context.Context, l *listing, from *source, n int) error {
	err := s.mailboxes.Do(ctx, l.account.ID, from.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		validity, err := checkValidity(c, from.folderPosition)
		if err != nil {
			return err
		}
		opts := &imapconn.FetchOptions{}
		opts.InternalDate = true
		page, err := l.find.page(ctx, c, findOptions{size: n, before: from.before, fetch: opts})
		if err != nil {
			return err
		}
		from.validity, from.loaded, from.more, from.next = validity, true, page.more, nil
		from.scanned, from.scannedAt = page.scanned, page.scannedAt
		for _, m := range page.messages {
			from.next = append(from.next, arrival{uid: m.UID, time: m.InternalDate})
		}
		return nil
	})
	if err != nil && classify(ctx, err).reason == reasonFolderNotFound {
		from.loaded, from.more, from.next = true, false, nil
		return nil
	}
	return err
}

// merge takes the page's messages from the folders.
func (s *messageService) merge(ctx context.Context, l *listing, sources []*source) ([]taken, error) {
	var page []taken
	tries := 0
	for len(page) < l.size {
		from := newest(sources)
		if from == nil {
			break
		}
		if len(from.next) == 0 {
			from.skipScanned()
			if l.find.exhausted() {
				break // the next page goes on looking
			}
			if err := s.load(ctx, l, from, l.size-len(page)+1); err != nil {
				return nil, err
			}
			if len(from.next) == 0 && from.more && from.scanned == 0 {
				// What would have come was expunged at this very moment, and there
				// is more below it.
				if tries++; tries > maxTries {
					break // the next page goes on from here
				}
			}
			continue
		}
		first := from.next[0]
		from.next = from.next[1:]
		from.before, from.head = first.uid, first.time
		page = append(page, taken{from: from, uid: first.uid})
	}
	return page, nil
}

// newest is the folder whose next message arrived last, or nil when none has
// one. The order of ties is that of the keys, the same on every page.
func newest(sources []*source) *source {
	var best *source
	for _, s := range sources {
		if !s.left() {
			continue
		}
		if best == nil || s.nextTime().After(best.nextTime()) ||
			s.nextTime().Equal(best.nextTime()) && cmp.Compare(s.Key.String(), best.Key.String()) < 0 {
			best = s
		}
	}
	return best
}

// left reports whether the folder has messages left, as far as is known.
func (s *source) left() bool { return len(s.next) > 0 || !s.loaded || s.more }

func (s *source) nextTime() time.Time {
	if len(s.next) > 0 {
		return s.next[0].time
	}
	if s.scanned > 0 && !s.scannedAt.IsZero() {
		return s.scannedAt
	}
	return s.head
}

// skipScanned goes on below what was looked at in vain.
func (s *source) skipScanned() {
	if s.scanned == 0 {
		return
	}
	s.before, s.scanned = s.scanned, 0
	if !s.scannedAt.IsZero() {
		s.head = s.scannedAt
	}
}

// share is what one folder has in the page.
type share struct {
	from     *source
	uids     []imap.UID
	messages map[string]*posternv1.Message // by id
}

// fetchTaken fetches the page's messages, folder by folder, and gives them in
// the order of the page. Those that have gone meanwhile are left out.
func (s *messageService) fetchTaken(ctx context.Context, l *listing, page []taken) ([]*posternv1.Message, error) {
	var shares []*share
	of := make(map[*source]*share)
	for _, t := range page {
		if of[t.from] == nil {
			of[t.from] = &share{from: t.from}
			shares = append(shares, of[t.from])
		}
		of[t.from].uids = append(of[t.from].uids, t.uid)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(mergeWidth)
	for _, part := range shares {
		group.Go(func() error { return s.fetchShare(groupCtx, l, part) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var out []*posternv1.Message
	for _, t := range page {
		id := folder.MessageID{Folder: t.from.Key, UIDValidity: t.from.validity, UID: t.uid}
		if m := of[t.from].messages[id.String()]; m != nil {
			out = append(out, m)
		}
	}
	return out, nil
}

func (s *messageService) fetchShare(ctx context.Context, l *listing, part *share) error {
	return s.mailboxes.Do(ctx, l.account.ID, part.from.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		if _, err := checkValidity(c, part.from.folderPosition); err != nil {
			return err
		}
		messages, err := l.fetchOrdered(ctx, c, part.from.Key, part.uids)
		if err != nil {
			return err
		}
		part.messages = make(map[string]*posternv1.Message, len(messages))
		for _, m := range messages {
			_, id, _ := strings.Cut(m.GetName(), "/messages/")
			part.messages[id] = m
		}
		return nil
	})
}

// encodeSources is the position of the next page: for each folder that has
// messages left where it goes on and how new its next message is. Nothing is
// the end of the list.
func encodeSources(sources []*source) []byte {
	var b []byte
	for _, s := range sources {
		if !s.left() {
			continue
		}
		if len(s.next) == 0 {
			s.skipScanned()
		}
		next := s.folderPosition
		if next.before == 0 && len(s.next) > 0 {
			// Nothing was taken from it yet. Mail that comes from now on is not
			// part of the list.
			next.before = s.next[0].uid + 1
		}
		b = append(b, s.Key[:]...)
		b = next.appendTo(b)
		b = binary.AppendVarint(b, s.nextTime().Unix())
	}
	return b
}

// decodeSources reads a position back. Folders that are gone are left out.
func (s *messageService) decodeSources(ctx context.Context, accountID string, b []byte) ([]*source, error) {
	var sources []*source
	for len(b) > 0 {
		from := &source{}
		if len(b) < len(from.Key) {
			return nil, errPosition
		}
		key := folder.Key(b[:len(from.Key)])
		var err error
		if from.folderPosition, b, err = readFolderPosition(b[len(from.Key):]); err != nil {
			return nil, err
		}
		unix, size := binary.Varint(b)
		if size <= 0 {
			return nil, errPosition
		}
		b, from.head = b[size:], time.Unix(unix, 0)
		from.Folder, err = s.folders.ByKey(ctx, accountID, key)
		if errors.Is(err, folder.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sources = append(sources, from)
	}
	return sources, nil
}
