package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// DeleteMessage implements MessageService.
func (s *messageService) DeleteMessage(ctx context.Context, req *posternv1.DeleteMessageRequest) (*emptypb.Empty, error) {
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	err = s.deleting(ctx, p.account.ID, func(trash *folder.Folder) error {
		return s.open(ctx, p, readWrite, func(c *imapconn.Conn) error {
			opts := &imapconn.FetchOptions{}
			opts.RFC822Size = true // tells the answer from news of flags
			if _, err := fetchOne(ctx, c, p.id.UID, opts); err != nil {
				return err
			}
			return discard(ctx, c, imap.UIDSetNum(p.id.UID), p.folder, trash)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("delete message: %w", err)
	}
	s.wrote(p.account.ID)
	return &emptypb.Empty{}, nil
}

// errTrashWanted says that a deletion on Gmail needs to know the trash. Nothing
// has been done then.
var errTrashWanted = errors.New("which folder is the trash is not known")

// deleting runs a deletion, and where it turns out to be one on Gmail once more,
// with the folders that mail has to be in to be deleted. To list the folders is
// a request of its own, which must not be made while a connection is held.
func (s *messageService) deleting(ctx context.Context, accountID string, run func(trash *folder.Folder) error) error {
	err := run(nil)
	if !errors.Is(err, errTrashWanted) {
		return err
	}
	trash, err := s.folderOfRole(ctx, accountID, folder.RoleTrash)
	if err != nil {
		return err
	}
	return run(&trash)
}

// discard deletes messages of the selected mailbox for good. On Gmail a message
// that is expunged in any other folder than the trash only loses the folder's
// label: there it is moved to the trash first. trash is nil where it is not
// known; where it is needed the error is errTrashWanted.
func discard(ctx context.Context, c *imapconn.Conn, uids imap.UIDSet, in folder.Folder, trash *folder.Folder) error {
	if err := checkKeepable(c.SelectData(), []imap.Flag{imap.FlagDeleted}); err != nil {
		return err
	}
	if !c.Has(capGmail) {
		return c.Remove(ctx, uids)
	}
	if trash == nil {
		return errTrashWanted
	}
	if in.Key == trash.Key {
		return c.Remove(ctx, uids)
	}
	moved, err := c.Move(ctx, uids, trash.Name)
	if err != nil {
		return err
	}
	if moved == nil {
		return nil // it is in the trash, which Gmail empties by itself
	}
	if _, err := c.Select(ctx, trash.Name, nil); err != nil {
		return err
	}
	return c.Remove(ctx, moved.DestUIDs)
}
