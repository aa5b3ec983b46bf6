package gateway

import (
	"context"
	"fmt"
	"strconv"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/imapconn"
)

// DeleteFolder implements FolderService.
func (s *folderService) DeleteFolder(ctx context.Context, req *posternv1.DeleteFolderRequest) (*emptypb.Empty, error) {
	a, key, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.changes.run(ctx, a.ID, func(c *folderChange) error {
		f, err := c.all.byKey(key)
		if err != nil {
			return err
		}
		if err := checkEtag(f, req.GetEtag()); err != nil {
			return err
		}
		if f.IsInbox() {
			return isInbox("INBOX cannot be deleted; it can be emptied.")
		}
		below := c.all.below(f)
		if !req.GetForce() {
			if err := c.mustBeEmpty(ctx, f, below); err != nil {
				return err
			}
		}
		return c.delete(ctx, append(below, *f))
	})
	if err != nil {
		return nil, fmt.Errorf("delete folder: %w", err)
	}
	return &emptypb.Empty{}, nil
}

func (c *folderChange) mustBeEmpty(ctx context.Context, f *listedFolder, below []listedFolder) error {
	if err := readStatus(ctx, c.conn, f); err != nil {
		return err
	}
	messages := uint32(0)
	if f.status != nil && f.status.NumMessages != nil {
		messages = *f.status.NumMessages
	}
	if messages == 0 && len(below) == 0 {
		return nil
	}
	return notEmpty("The folder has %d messages in it and %d folders below it: empty it first, or delete it with force.",
		messages, len(below)).with("messages", strconv.FormatUint(uint64(messages), 10)).with("folders", strconv.Itoa(len(below)))
}

func notEmpty(format string, args ...any) *failure {
	return refuse(codes.FailedPrecondition, reasonFolderNotEmpty, format, args...)
}

// delete deletes folders one by one. What was deleted before a refusal is gone.
func (c *folderChange) delete(ctx context.Context, folders []listedFolder) error {
	if err := c.leave(ctx); err != nil {
		return err
	}
	defer c.reselect(c.accountID)
	for _, f := range folders {
		err := c.conn.Delete(ctx, f.Name)
		// One that only has others below it may go with the last of them.
		if err != nil && !(isRefused(err) && !f.selectable && len(folders) > 1) {
			return err
		}
		if err := c.registry.Delete(ctx, c.accountID, f.Key); err != nil {
			return err
		}
		if !f.subscribed {
			continue
		}
		// A server must not take it off the list by itself (RFC 9051 section 6.3.7).
		if err := c.subscribe(ctx, f.Name, false); err != nil && !isRefused(err) {
			return err
		}
	}
	return nil
}

// emptyAtOnce bounds how many messages are deleted by one command.
const emptyAtOnce = 1000

// EmptyFolder implements FolderService.
func (s *folderService) EmptyFolder(ctx context.Context, req *posternv1.EmptyFolderRequest) (*posternv1.EmptyFolderResponse, error) {
	a, key, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	f, err := s.lister.folders.ByKey(ctx, a.ID, key)
	if err != nil {
		return nil, err
	}
	resp := &posternv1.EmptyFolderResponse{}
	err = s.lister.mailboxes.Do(ctx, a.ID, f.Name, nil, func(c *imapconn.Conn) error {
		if c.SelectData().ReadOnly {
			return refuse(codes.PermissionDenied, reasonIMAPNoPerm, "The mail server opens this folder for reading only.")
		}
		return empty(ctx, c, &resp.Deleted)
	})
	if err != nil {
		return nil, fmt.Errorf("empty folder: %w", err)
	}
	return resp, nil
}

// empty deletes the messages that the selected mailbox has now, and counts them.
func empty(ctx context.Context, c *imapconn.Conn, deleted *uint32) error {
	if err := c.Noop(ctx); err != nil { // what has arrived is to be seen
		return err
	}
	found, err := c.Search(ctx, &imapconn.SearchCriteria{}, &imapconn.SearchOptions{ReturnAll: true})
	if err != nil {
		return err
	}
	for rest := found.All; len(rest) > 0; {
		var batch imap.UIDSet
		batch, rest = splitFirst(rest, emptyAtOnce)
		if err := c.Remove(ctx, batch); err != nil {
			return err
		}
		*deleted += uint32(countUIDs(batch))
	}
	return nil
}
