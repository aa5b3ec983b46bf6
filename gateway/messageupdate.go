package gateway

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
)

// readWrite is how mailboxes are opened for changes that may be made twice.
var readWrite = &imapconn.DoOptions{}

// writeOnce is for changes that must not be made twice.
var writeOnce = &imapconn.DoOptions{Once: true}

// UpdateMessage implements MessageService.
func (s *messageService) UpdateMessage(ctx context.Context, req *posternv1.UpdateMessageRequest) (*posternv1.Message, error) {
	in := req.GetMessage()
	change, err := changesFlags(req)
	if err != nil {
		return nil, err
	}
	flags, err := parseFlags("message.flags", in.GetFlags())
	if err != nil {
		return nil, err
	}
	p, err := s.locate(ctx, in.GetName())
	if err != nil {
		return nil, err
	}
	if change && in.GetEtag() != "" {
		done, err := s.turns.take(ctx, in.GetName())
		if err != nil {
			return nil, err
		}
		defer done()
	}
	var out *posternv1.Message
	err = s.open(ctx, p, readWrite, func(c *imapconn.Conn) error {
		if change {
			if err := setFlags(ctx, c, p.id.UID, flags, in.GetEtag()); err != nil {
				return err
			}
		}
		out, err = describePlaced(ctx, c, p.account, p.id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update message: %w", err)
	}
	if change {
		s.wrote(p.account.ID)
	}
	return out, nil
}

// changesFlags reports whether an update is to change the flags. They are the
// one thing that can be changed; a mask that names other fields changes nothing
// of them (AIP-203).
func changesFlags(req *posternv1.UpdateMessageRequest) (bool, error) {
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return len(req.GetMessage().GetFlags()) > 0, nil
	}
	paths, err := readPaths(req.GetUpdateMask(), messageFields, "update_mask")
	if err != nil {
		return false, err
	}
	return paths == nil || names(paths, "flags"), nil
}

// setFlags makes the flags of a message those of the list. An etag that is
// given must stand for the flags as they are. UNCHANGEDSINCE alone does not see
// to that: Dovecot compares with what the session has been told, and so takes
// two changes that sessions make at the same time. Hence the NOOP, and the turns
// that calls take.
func setFlags(ctx context.Context, c *imapconn.Conn, uid imap.UID, flags []imap.Flag, etag string) error {
	if etag != "" {
		if err := c.Noop(ctx); err != nil {
			return err
		}
	}
	opts := &imapconn.FetchOptions{}
	opts.Flags, opts.ModSeq = true, true
	opts.RFC822Size = true // tells the answer from news of flags
	m, err := fetchOne(ctx, c, uid, opts)
	if err != nil {
		return err
	}
	// An etag of the flags stays good where mod-sequences come into use.
	if etag != "" && etag != flagsEtag(m.Flags, m.ModSeq) && etag != flagsEtag(m.Flags, 0) {
		return etagMismatch()
	}
	if sameFlags(flags, m.Flags) {
		return nil
	}
	added := slices.DeleteFunc(slices.Clone(flags), func(f imap.Flag) bool { return hasFlag(m.Flags, f) })
	if err := checkKeepable(c.SelectData(), added); err != nil {
		return err
	}
	store := &imapconn.StoreOptions{}
	if etag != "" && c.Has(imap.CapCondStore) {
		store.UnchangedSince = m.ModSeq // 0 where the mailbox has none
	}
	data, err := c.Store(ctx, imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsSet, Silent: true, Flags: flags}, store)
	if err != nil {
		return err
	}
	if modified, ok := data.Modified.(imap.UIDSet); ok && modified.Contains(uid) {
		return etagMismatch()
	}
	return nil
}

func etagMismatch() *failure {
	return refuse(codes.Aborted, reasonEtagMismatch,
		"The flags of the message have changed meanwhile: get it again, and repeat the change with its new etag.")
}

// describePlaced answers a message of the selected mailbox as a list shows it.
func describePlaced(ctx context.Context, c *imapconn.Conn, a *account.Account, id folder.MessageID) (*posternv1.Message, error) {
	const view = posternv1.Message_METADATA
	m, err := fetchOne(ctx, c, id.UID, viewOptions(view, nil))
	if err != nil {
		return nil, err
	}
	l := listing{account: a, view: view}
	list, err := l.messages(ctx, c, id.Folder, []*imapconn.FetchMessage{m})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
