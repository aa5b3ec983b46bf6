package gateway

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/folder"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/moves"
)

// BatchGetMessages implements MessageService.
func (s *messageService) BatchGetMessages(ctx context.Context, req *posternv1.BatchGetMessagesRequest) (*posternv1.BatchGetMessagesResponse, error) {
	paths, err := readPaths(req.GetReadMask(), messageFields, "read_mask")
	if err != nil {
		return nil, err
	}
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	list := parseNames(a.ID, req.GetNames())
	places := make(map[moves.Place]imap.UIDSet)
	for _, p := range list {
		if p.elsewhere {
			return nil, p.err
		}
		if p.err == nil {
			uids := places[moves.PlaceOf(p.MessageID)]
			uids.AddNum(p.UID)
			places[moves.PlaceOf(p.MessageID)] = uids
		}
	}
	got, failed := s.getPlaces(ctx, a, places, listView(req.GetView()))
	results := make(map[string]*posternv1.MessageResult, len(list))
	for _, p := range list {
		result := &posternv1.MessageResult{Name: p.name, Message: got[p.MessageID]}
		results[p.name] = result
		if result.GetMessage() != nil {
			keep(result.Message, paths)
			continue
		}
		err := p.err
		if err == nil {
			err = failed[moves.PlaceOf(p.MessageID)]
		}
		if err == nil {
			err = s.orMoved(ctx, a.ID, p.MessageID, messageGone())
		}
		result.Error = statusProto(ctx, err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("batch get messages: %w", ctx.Err())
	}
	resp := &posternv1.BatchGetMessagesResponse{}
	for _, name := range req.GetNames() {
		resp.Results = append(resp.Results, results[name])
	}
	return resp, nil
}

// listView is the view of a list that asks for one, METADATA by default.
func listView(asked posternv1.Message_View) posternv1.Message_View {
	if asked == posternv1.Message_VIEW_UNSPECIFIED {
		return posternv1.Message_METADATA
	}
	return asked
}

// getPlaces fetches messages of several folders, each with one command, and
// tells the errors of those that cannot be read.
func (s *messageService) getPlaces(ctx context.Context, a *account.Account, places map[moves.Place]imap.UIDSet, view posternv1.Message_View) (
	map[folder.MessageID]*posternv1.Message, map[moves.Place]error,
) {
	type outcome struct {
		at   moves.Place
		list []*posternv1.Message
		uids []imap.UID
		err  error
	}
	outcomes := make(chan outcome, len(places))
	var group errgroup.Group
	group.SetLimit(mergeWidth)
	for at, uids := range places {
		group.Go(func() error {
			o := outcome{at: at}
			o.list, o.uids, o.err = s.getPlace(ctx, a, at, uids, view)
			outcomes <- o
			return nil
		})
	}
	_ = group.Wait()
	close(outcomes)
	got, failed := make(map[folder.MessageID]*posternv1.Message), make(map[moves.Place]error)
	for o := range outcomes {
		if o.err != nil {
			failed[o.at] = o.err
			continue
		}
		for i, m := range o.list {
			got[folder.MessageID{Folder: o.at.Folder, UIDValidity: o.at.UIDValidity, UID: o.uids[i]}] = m
		}
	}
	return got, failed
}

// getPlace fetches messages of one folder. Those that are gone are left out.
func (s *messageService) getPlace(ctx context.Context, a *account.Account, at moves.Place, uids imap.UIDSet, view posternv1.Message_View) (
	list []*posternv1.Message, got []imap.UID, err error,
) {
	f, err := s.folders.ByKey(ctx, a.ID, at.Folder)
	if err != nil {
		return nil, nil, folderGone(err)
	}
	err = s.mailboxes.Do(ctx, a.ID, f.Name, readOnlyMailbox, func(c *imapconn.Conn) error {
		if c.SelectData().UIDValidity != at.UIDValidity {
			return uidValidityChanged()
		}
		list, got, err = describeUIDs(ctx, c, a, at.Folder, uids, view)
		if err != nil || int64(len(got)) == countUIDs(uids) {
			return err
		}
		// The session may not have been told of new ones.
		if err = c.Noop(ctx); err == nil {
			list, got, err = describeUIDs(ctx, c, a, at.Folder, uids, view)
		}
		return err
	})
	return list, got, err
}

// describeUIDs answers messages of the selected mailbox, the newest first, and
// tells their UIDs.
func describeUIDs(ctx context.Context, c *imapconn.Conn, a *account.Account, key folder.Key, uids imap.UIDSet, view posternv1.Message_View) (
	[]*posternv1.Message, []imap.UID, error,
) {
	wanted := uidsOf(uids, int(countUIDs(uids)))
	slices.Reverse(wanted)
	fetched, err := fetchUIDs(ctx, c, wanted, viewOptions(view, nil))
	if err != nil {
		return nil, nil, err
	}
	got := make([]imap.UID, len(fetched))
	for i, m := range fetched {
		got[i] = m.UID
	}
	l := listing{account: a, view: view}
	list, err := l.messages(ctx, c, key, fetched)
	return list, got, err
}
