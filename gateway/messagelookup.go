package gateway

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

const (
	// maxPlacements bounds the answer of a lookup.
	maxPlacements = 500
	// lookupBudget bounds the messages that are looked at for one whose id the
	// server cannot search for, over all folders.
	lookupBudget = 20_000
	// lookupStep is how many are looked at with one command.
	lookupStep = 1000
)

// lookup is a search for the placements of a mail.
type lookup struct {
	account *account.Account
	view    posternv1.Message_View
	emailID string
	// messageID is without its angle brackets. For a fingerprint it becomes
	// known with the first message that is found and has one.
	messageID string
	// scheme is how the account's email ids are made.
	scheme account.IdentityScheme
	// budget is what is left of lookupBudget.
	budget int64
	// cut says that not all that may match was looked at.
	cut atomic.Bool
}

// LookupMessages implements MessageService.
func (s *messageService) LookupMessages(ctx context.Context, req *posternv1.LookupMessagesRequest) (*posternv1.LookupMessagesResponse, error) {
	paths, err := readPaths(req.GetReadMask(), messageFields, "read_mask")
	if err != nil {
		return nil, err
	}
	l := &lookup{
		view: listView(req.GetView()), budget: lookupBudget,
		emailID: req.GetEmailId(), messageID: bareMessageID(req.GetMessageId()),
	}
	if l.emailID == "" && l.messageID == "" {
		return nil, refuseField("message_id", reasonArgumentInvalid, "There is no id between the angle brackets.")
	}
	if l.account, err = s.accounts.Get(ctx, accountID(req.GetParent())); err != nil {
		return nil, err
	}
	lists, err := s.lookUpAll(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("look messages up: %w", err)
	}
	resp := &posternv1.LookupMessagesResponse{}
	for _, list := range lists {
		resp.Messages = append(resp.Messages, list...)
	}
	if len(resp.GetMessages()) > maxPlacements {
		resp.Messages = resp.Messages[:maxPlacements]
		l.cut.Store(true)
	}
	for _, m := range resp.GetMessages() {
		if l.view == posternv1.Message_MINIMAL {
			keep(m, minimalPaths)
		}
		keep(m, paths)
	}
	resp.Incomplete = l.cut.Load()
	return resp, nil
}

// minimalPaths are the fields of the view MINIMAL.
var minimalPaths = []maskPath{{"name"}, {"folder"}, {"flags"}, {"labels"}, {"internal_date"}, {"size"}, {"etag"}}

func bareMessageID(id string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(id), "<"), ">")
}

// lookUpAll looks into all folders, a few at a time.
func (s *messageService) lookUpAll(ctx context.Context, l *lookup) ([][]*posternv1.Message, error) {
	err := s.mailboxes.Do(ctx, l.account.ID, "", nil, func(c *imapconn.Conn) error {
		l.scheme = pinned(l.account, c.Caps()).IdentityScheme
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := s.lister.list(ctx, l.account.ID, nil)
	if err != nil {
		return nil, err
	}
	folders := slices.DeleteFunc(all.folders, func(f listedFolder) bool { return !f.selectable })
	if l.emailID != "" && l.scheme == account.IdentityFingerprint {
		lists, err := s.scanAll(ctx, l, folders)
		if err != nil || l.messageID == "" {
			return lists, err
		}
	}
	lists := make([][]*posternv1.Message, len(folders))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(mergeWidth)
	for i, f := range folders {
		group.Go(func() (err error) {
			lists[i], err = s.lookUpIn(ctx, l, f)
			return err
		})
	}
	return lists, group.Wait()
}

// criteria is how the server can find the mail.
func (l *lookup) criteria() *imapconn.SearchCriteria {
	criteria := &imapconn.SearchCriteria{}
	switch {
	case l.messageID != "":
		criteria.Header = []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: l.messageID}}
	case l.scheme == account.IdentityGmail:
		id, err := strconv.ParseUint(l.emailID, 16, 64)
		if err != nil {
			return nil // not one that was given out
		}
		criteria.GmailMsgID = []uint64{id}
	default:
		criteria.EmailID = []string{l.emailID}
	}
	return criteria
}

// lookUpIn finds the placements in one folder. A folder that is gone or cannot
// be opened has none.
func (s *messageService) lookUpIn(ctx context.Context, l *lookup, f listedFolder) (list []*posternv1.Message, err error) {
	criteria := l.criteria()
	if criteria == nil {
		return nil, nil
	}
	err = s.mailboxes.Do(ctx, l.account.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		if err := c.Noop(ctx); err != nil { // it may have been open for a while
			return err
		}
		found, err := c.Search(ctx, criteria, nil)
		if err != nil || len(found.All) == 0 {
			return err
		}
		more, uids := splitLast(found.All, maxPlacements)
		if len(more) > 0 {
			l.cut.Store(true)
		}
		list = nil
		messages, _, err := describeUIDs(ctx, c, l.account, f.Key, uids, max(l.view, posternv1.Message_METADATA))
		for _, m := range messages {
			// The server searches for a part of the header.
			if l.emailID != "" && m.GetEmailId() != l.emailID || l.messageID != "" && m.GetMessageId() != l.messageID {
				continue
			}
			list = append(list, m)
		}
		return err
	})
	if passedOver(ctx, err) {
		return nil, nil
	}
	return list, err
}

// passedOver reports whether a folder is one that others are not to suffer for:
// it is gone, or is listed and cannot be opened.
func passedOver(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	switch classify(ctx, err).reason {
	case reasonFolderNotFound, reasonIMAPNoPerm, reasonIMAPCannot:
		return true
	}
	return false
}

// scanAll looks for a fingerprint, one folder after the other: the message that
// it is of tells the Message-ID, by which the server can find the rest.
func (s *messageService) scanAll(ctx context.Context, l *lookup, folders []listedFolder) ([][]*posternv1.Message, error) {
	var lists [][]*posternv1.Message
	for _, f := range folders {
		list, err := s.scan(ctx, l, f)
		if err != nil || l.messageID != "" {
			return nil, err
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// scan looks at the newest messages of a folder for the one of a fingerprint,
// and takes its Message-ID. A message without one is a placement for itself.
func (s *messageService) scan(ctx context.Context, l *lookup, f listedFolder) (list []*posternv1.Message, err error) {
	err = s.mailboxes.Do(ctx, l.account.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		if err := c.Noop(ctx); err != nil {
			return err
		}
		found, err := c.Search(ctx, &imapconn.SearchCriteria{}, nil)
		if err != nil {
			return err
		}
		list = nil
		rest, some := splitLast(found.All, lookupStep)
		for ; len(some) > 0 && l.messageID == ""; rest, some = splitLast(rest, lookupStep) {
			if l.budget -= countUIDs(some); l.budget < 0 {
				l.cut.Store(true)
				return nil
			}
			found, err := l.scanSome(ctx, c, f.Key, some)
			if err != nil {
				return err
			}
			list = append(list, found...)
		}
		return nil
	})
	if passedOver(ctx, err) {
		return nil, nil
	}
	return list, err
}

func (l *lookup) scanSome(ctx context.Context, c *imapconn.Conn, key folder.Key, uids imap.UIDSet) ([]*posternv1.Message, error) {
	opts := &imapconn.FetchOptions{}
	l.account.IdentityItems(opts)
	var list []*imapconn.FetchMessage
	err := c.Fetch(ctx, uids, opts, func(m *imapconn.FetchMessage) error {
		list = append(list, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	envelopes, err := account.ReadEnvelopes(ctx, c, list)
	if err != nil {
		return nil, err
	}
	var without imap.UIDSet
	for _, m := range list {
		e := envelopes[m.UID]
		if e == nil || l.account.EmailID(m, e) != l.emailID {
			continue
		}
		if e.MessageID != "" {
			l.messageID = e.MessageID
			return nil, nil
		}
		without.AddNum(m.UID)
	}
	if len(without) == 0 {
		return nil, nil
	}
	messages, _, err := describeUIDs(ctx, c, l.account, key, without, posternv1.Message_METADATA)
	return messages, err
}
