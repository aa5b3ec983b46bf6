package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/imapwire"
	"github.com/postern-mail/postern/internal/moves"
)

// MoveMessage implements MessageService.
func (s *messageService) MoveMessage(ctx context.Context, req *posternv1.MoveMessageRequest) (*posternv1.Message, error) {
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	to, err := s.namedFolder(ctx, p.account.ID, "folder", req.GetFolder())
	if err != nil {
		return nil, err
	}
	out, err := s.move(ctx, p, to)
	if err != nil {
		return nil, fmt.Errorf("move message: %w", err)
	}
	return out, nil
}

// TrashMessage implements MessageService.
func (s *messageService) TrashMessage(ctx context.Context, req *posternv1.TrashMessageRequest) (*posternv1.Message, error) {
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	trash, err := s.folderOfRole(ctx, p.account.ID, folder.RoleTrash)
	if err != nil {
		return nil, fmt.Errorf("trash message: %w", err)
	}
	out, err := s.move(ctx, p, trash)
	if err != nil {
		return nil, fmt.Errorf("trash message: %w", err)
	}
	return out, nil
}

// CopyMessage implements MessageService.
func (s *messageService) CopyMessage(ctx context.Context, req *posternv1.CopyMessageRequest) (*posternv1.Message, error) {
	p, err := s.locate(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	to, err := s.namedFolder(ctx, p.account.ID, "folder", req.GetFolder())
	if err != nil {
		return nil, err
	}
	var out *posternv1.Message
	answer, err := s.once(ctx, p.account.ID, "CopyMessage", req.GetRequestId(), contentOf(req), func(ctx context.Context, again bool) (_ string, err error) {
		if out, err = s.copy(ctx, p, to, again); err != nil {
			return "", err
		}
		return outcomeOf(out), nil
	})
	if err != nil {
		return nil, fmt.Errorf("copy message: %w", err)
	}
	s.wrote(p.account.ID)
	if out == nil { // answered before
		return s.recall(ctx, answer, to), nil
	}
	return out, nil
}

// move moves a message to another folder and answers it as it is there.
func (s *messageService) move(ctx context.Context, p placed, to folder.Folder) (*posternv1.Message, error) {
	if to.Key == p.folder.Key {
		var out *posternv1.Message
		err := s.open(ctx, p, readOnlyMailbox, func(c *imapconn.Conn) (err error) {
			out, err = describePlaced(ctx, c, p.account, p.id)
			return err
		})
		return out, err
	}
	var copied *imap.CopyData
	err := s.open(ctx, p, writeOnce, func(c *imapconn.Conn) error {
		t, err := s.beforeTransfer(ctx, c, p, to)
		if err != nil {
			return err
		}
		from := moves.PlaceOf(p.id)
		copied, err = s.moveSet(ctx, c, p.account.ID, from, imap.UIDSetNum(p.id.UID), to, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.wrote(p.account.ID)
	return s.arrived(ctx, p, to, copied), nil
}

// moveSet moves messages of the selected mailbox to another folder, and tells
// those who have to know it which became which. Where the server does not tell,
// the one message of a trace is looked for; afterwards either mailbox may be
// the selected one.
func (s *messageService) moveSet(ctx context.Context, c *imapconn.Conn, accountID string, from moves.Place, uids imap.UIDSet, to folder.Folder, t *trace) (*imap.CopyData, error) {
	order := moves.Move{Account: accountID, From: from.Folder, UIDValidity: from.UIDValidity, UIDs: uids, To: to.Key}
	copied, err := s.moves.Run(ctx, order, func(ctx context.Context) (*imap.CopyData, error) {
		copied, err := c.Move(ctx, uids, to.Name)
		if err != nil || copied != nil || t == nil {
			return copied, err
		}
		// It is moved, whether it is found or not.
		opened, err := c.Select(ctx, to.Name, &imapconn.SelectOptions{ReadOnly: true})
		if err != nil {
			return nil, nil //nolint:nilerr // see above
		}
		found, err := t.find(ctx, c)
		if err != nil || found == 0 {
			return nil, nil //nolint:nilerr // see above
		}
		return &imap.CopyData{UIDValidity: opened.UIDValidity, SourceUIDs: uids, DestUIDs: imap.UIDSetNum(found)}, nil
	})
	if err == nil && copied != nil {
		s.succeeded(ctx, accountID, from, moves.Place{Folder: to.Key, UIDValidity: copied.UIDValidity}, copied)
	}
	return copied, err
}

// copy copies a message to a folder and answers the copy. again says that it
// may have been made already.
func (s *messageService) copy(ctx context.Context, p placed, to folder.Folder, again bool) (*posternv1.Message, error) {
	var t *trace
	var copied *imap.CopyData
	err := s.open(ctx, p, writeOnce, func(c *imapconn.Conn) (err error) {
		if t, err = s.beforeTransfer(ctx, c, p, to); err != nil {
			return err
		}
		if again {
			return nil
		}
		copied, err = c.Copy(ctx, imap.UIDSetNum(p.id.UID), to.Name)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case again:
		t.from = 0
		if to.Key == p.folder.Key {
			t.from = p.id.UID + 1
		}
		if out, err := s.findArrived(ctx, p.account, to, t); err != nil || out != nil {
			return out, err
		}
		return s.copy(ctx, p, to, false)
	case copied != nil:
		return s.arrived(ctx, p, to, copied), nil
	}
	return s.foundAgain(ctx, p.account, to, t), nil
}

// beforeTransfer looks whether a message is there, and takes what it can be
// found again by.
func (s *messageService) beforeTransfer(ctx context.Context, c *imapconn.Conn, p placed, to folder.Folder) (*trace, error) {
	opts := &imapconn.FetchOptions{}
	traceItems(opts)
	m, err := fetchOne(ctx, c, p.id.UID, opts)
	if err != nil {
		return nil, err
	}
	t, err := traceOf(ctx, c, m)
	if err != nil || c.Has(imap.CapUIDPlus) {
		return t, err
	}
	return t, t.notBefore(ctx, c, to.Name)
}

// arrived answers a message that was moved or copied, as far as the server has
// told which it has become. The change has been made, so whatever fails from
// here on is no failure of the call: the answer then says less.
func (s *messageService) arrived(ctx context.Context, p placed, to folder.Folder, copied *imap.CopyData) *posternv1.Message {
	if copied != nil {
		if uid, ok := imapwire.CopiedTo(copied, p.id.UID); ok {
			id := folder.MessageID{Folder: to.Key, UIDValidity: copied.UIDValidity, UID: uid}
			return s.describe(ctx, event.MessageName(p.account.ID, id), to)
		}
	}
	return &posternv1.Message{Folder: event.FolderName(p.account.ID, to.Key)}
}

// foundAgain is arrived for a message that has to be looked for.
func (s *messageService) foundAgain(ctx context.Context, a *account.Account, to folder.Folder, t *trace) *posternv1.Message {
	out, err := s.findArrived(ctx, a, to, t)
	if err != nil || out == nil {
		return &posternv1.Message{Folder: event.FolderName(a.ID, to.Key)}
	}
	return out
}

// findArrived finds a message in the folder that it has come into, nil if it is
// not there.
func (s *messageService) findArrived(ctx context.Context, a *account.Account, to folder.Folder, t *trace) (out *posternv1.Message, err error) {
	err = s.mailboxes.Do(ctx, a.ID, to.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		uid, err := t.find(ctx, c)
		if err != nil || uid == 0 {
			return err
		}
		id := folder.MessageID{Folder: to.Key, UIDValidity: c.SelectData().UIDValidity, UID: uid}
		out, err = describePlaced(ctx, c, a, id)
		return err
	})
	return out, err
}

// describe answers a message by its name, as far as it can be read.
func (s *messageService) describe(ctx context.Context, name string, in folder.Folder) *posternv1.Message {
	accountName, _, _ := strings.Cut(name, "/messages/")
	out := &posternv1.Message{Name: name, Folder: accountName + "/folders/" + in.Key.String()}
	p, err := s.locate(ctx, name)
	if err != nil {
		return out
	}
	err = s.open(ctx, p, readOnlyMailbox, func(c *imapconn.Conn) error {
		full, err := describePlaced(ctx, c, p.account, p.id)
		if err == nil {
			out = full
		}
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "a message that was just written cannot be read", "message", name, "error", err)
	}
	return out
}

// namedFolder resolves the name of a folder that a request's field holds. A
// name under another account names no folder of this one.
func (s *messageService) namedFolder(ctx context.Context, accountID, field, name string) (folder.Folder, error) {
	accountName, id, _ := strings.Cut(name, "/folders/")
	if accountName != "accounts/"+accountID {
		return folder.Folder{}, refuseField(field, reasonArgumentInvalid, "The folder belongs to another account.")
	}
	key, err := folder.ParseKey(id)
	if err != nil {
		return folder.Folder{}, err
	}
	return s.folders.ByKey(ctx, accountID, key)
}

// folderOfRole finds the folder that has a role.
func (s *messageService) folderOfRole(ctx context.Context, accountID string, role folder.Role) (folder.Folder, error) {
	all, err := s.lister.list(ctx, accountID, nil)
	if err != nil {
		return folder.Folder{}, err
	}
	if f := all.withRole(role); f != nil {
		return f.Folder, nil
	}
	return folder.Folder{}, refuse(codes.FailedPrecondition, reasonFolderRoleMissing,
		"The account has no folder with the role %s: create one on the mail server.", role).with("role", string(role))
}
