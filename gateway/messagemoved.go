package gateway

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/moves"
)

func messageGone() *failure {
	return refuse(codes.NotFound, reasonMessageGone, "The message is gone: it was deleted or moved to another folder.")
}

// orMoved makes of the error that a message is gone, after a look, the one that
// it was moved, where that is known.
func (s *messageService) orMoved(ctx context.Context, accountID string, id folder.MessageID, err error) error {
	var f *failure
	if !errors.As(err, &f) || f.reason != reasonMessageGone {
		return err
	}
	now, found, findErr := s.successors.Find(ctx, accountID, id)
	if findErr != nil {
		s.log.WarnContext(ctx, "moves cannot be read", "account", accountID, "error", findErr)
	}
	if !found {
		return err
	}
	name := event.MessageName(accountID, now)
	return refuse(codes.NotFound, reasonMessageMoved, "The message was moved: it is %s now.", name).
		with("message", name).with("folder", event.FolderName(accountID, now.Folder)).because(err)
}

// succeeded remembers which messages became which. They are moved whether or not
// that can be remembered, so it is no failure of the call if it cannot.
func (s *messageService) succeeded(ctx context.Context, accountID string, from, to moves.Place, copied *imap.CopyData) {
	if err := s.successors.Record(context.WithoutCancel(ctx), accountID, from, to, copied); err != nil {
		s.log.WarnContext(ctx, "moves cannot be remembered", "account", accountID, "error", err)
	}
}
