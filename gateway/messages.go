package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
	"github.com/postern-mail/postern/internal/requestid"
)

// mailboxes lends the connections of an account, with a mailbox selected.
type mailboxes interface {
	Do(ctx context.Context, accountID, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error
}

// folderKeys knows which folder a key stands for, and gives keys to folders.
type folderKeys interface {
	// ByKey fails with [folder.ErrNotFound].
	ByKey(ctx context.Context, accountID string, key folder.Key) (folder.Folder, error)
	Foresee(ctx context.Context, accountID string, seen []folder.Seen) ([]folder.Folder, error)
	All(ctx context.Context, accountID string) (folders []folder.Folder, revision uint64, err error)
}

// messageService implements MessageService.
type messageService struct {
	posternv1.UnimplementedMessageServiceServer
	accounts   accountReader
	mailboxes  mailboxes
	folders    folderKeys
	lister     folderLister
	pager      pager
	requests   *requestid.Store
	moves      *moves.Ledger
	successors *moves.Successors
	spools     *spools
	watch      Watch
	log        *slog.Logger
	// turns are those of updates that rest on the flags of the same message.
	turns turns
}

// readOnly is how mailboxes are opened for reading: it cannot change a flag,
// not even \Recent. What it is for may be done anew, as if it had not begun.
var readOnlyMailbox = &imapconn.DoOptions{ReadOnly: true, Again: true}

// readSlowly is for downloads, whose pace is the client's.
var readSlowly = &imapconn.DoOptions{ReadOnly: true, Slow: true}

// wrote has whoever watches the account look at once at what a call has
// changed. What has changed is announced from there and not from here, and so
// once, whoever notices it first.
func (s *messageService) wrote(accountID string) {
	if s.watch != nil {
		s.watch.Look(accountID)
	}
}

var messageFields = (&posternv1.Message{}).ProtoReflect().Descriptor()

// placed is a message that a name stands for, before anyone has looked.
type placed struct {
	account *account.Account
	folder  folder.Folder
	id      folder.MessageID
}

// locate resolves the name of a message. It needs no look at the server: the
// name says where the message is.
func (s *messageService) locate(ctx context.Context, name string) (placed, error) {
	rest := strings.TrimPrefix(name, "accounts/")
	accountID, messageID, _ := strings.Cut(rest, "/messages/")
	a, err := s.accounts.Get(ctx, accountID)
	if err != nil {
		return placed{}, err
	}
	id, err := folder.ParseMessageID(messageID)
	if err != nil {
		return placed{}, err
	}
	f, err := s.folders.ByKey(ctx, a.ID, id.Folder)
	return placed{account: a, folder: f, id: id}, s.orMoved(ctx, a.ID, id, folderGone(err))
}

// folderGone: a message whose folder is gone is gone.
func folderGone(err error) error {
	if errors.Is(err, folder.ErrNotFound) {
		return refuse(codes.NotFound, reasonMessageGone, "The message is gone, and so is the folder that it was in.").because(err)
	}
	return err
}

// open runs fn on a connection that has the message's folder selected, once
// the name is known to be still good there.
func (s *messageService) open(ctx context.Context, p placed, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	err := s.mailboxes.Do(ctx, p.account.ID, p.folder.Name, opts, func(c *imapconn.Conn) error {
		if c.SelectData().UIDValidity != p.id.UIDValidity {
			return uidValidityChanged()
		}
		return fn(c)
	})
	return s.orMoved(ctx, p.account.ID, p.id, err)
}

func uidValidityChanged() *failure {
	return refuse(codes.NotFound, reasonUIDValidityChanged,
		"The mail server has renumbered the folder, so all of its messages have new names: list the folder to find them.")
}

// fetchOne fetches one message of the selected mailbox. It fails with
// MESSAGE_GONE only after a look at the mailbox as it is now: a session that
// has not been told of a new message answers as if it were not there.
func fetchOne(ctx context.Context, c *imapconn.Conn, uid imap.UID, opts *imapconn.FetchOptions) (*imapconn.FetchMessage, error) {
	for attempt := range 2 {
		if attempt > 0 {
			if err := c.Noop(ctx); err != nil {
				return nil, err
			}
		}
		var found *imapconn.FetchMessage
		err := c.Fetch(ctx, imap.UIDSetNum(uid), opts, func(m *imapconn.FetchMessage) error {
			// News of its flags may come in an answer of its own.
			if m.UID == uid && (found == nil || m.Size > 0) {
				found = m
			}
			return nil
		})
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, messageGone()
}

// GetMessage implements MessageService.
func (s *messageService) GetMessage(ctx context.Context, req *posternv1.GetMessageRequest) (*posternv1.Message, error) {
	paths, err := readPaths(req.GetReadMask(), messageFields, "read_mask")
	if err != nil {
		return nil, err
	}
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	want, err := wantedOf(req, paths)
	if err != nil {
		return nil, err
	}
	var out *posternv1.Message
	err = s.open(ctx, p, readOnlyMailbox, func(c *imapconn.Conn) error {
		p.account = pinned(p.account, c.Caps())
		m, err := fetchOne(ctx, c, p.id.UID, viewOptions(want.view, paths))
		if err != nil {
			return err
		}
		completeLabels(c, m)
		if want.view != posternv1.Message_FULL {
			one := listing{account: p.account, view: want.view, paths: paths}
			messages, err := one.messages(ctx, c, p.id.Folder, []*imapconn.FetchMessage{m})
			if err != nil {
				return err
			}
			out = messages[0]
			return nil
		}
		out, err = readFull(ctx, c, p, m, want)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get message: %w", err)
	}
	keep(out, paths)
	return out, nil
}
