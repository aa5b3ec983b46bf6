package gateway

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
)

// ListDrafts implements DraftService.
func (s *draftService) ListDrafts(ctx context.Context, req *posternv1.ListDraftsRequest) (*posternv1.ListDraftsResponse, error) {
	paths, err := readPaths(req.GetReadMask(), draftFields, "read_mask")
	if err != nil {
		return nil, err
	}
	sealed, err := s.pager.position(req)
	if err != nil {
		return nil, err
	}
	var position folderPosition
	if sealed != nil {
		if position, _, err = readFolderPosition(sealed); err != nil {
			return nil, err
		}
	}
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListDraftsResponse{}
	f, err := s.folderFor(ctx, a, false)
	if err == nil && f != nil {
		err = s.in(ctx, a, f, readOnlyMailbox, func(d openDraft) error { return s.page(ctx, d, req, position, resp) })
	}
	if err != nil {
		return nil, fmt.Errorf("list drafts: %w", err)
	}
	for _, draft := range resp.GetDrafts() {
		keep(draft, paths)
	}
	return resp, nil
}

// page lists the drafts below a position.
func (s *draftService) page(ctx context.Context, d openDraft, req *posternv1.ListDraftsRequest, position folderPosition, resp *posternv1.ListDraftsResponse) error {
	validity, err := checkValidity(d.conn, position)
	if err != nil {
		return err
	}
	versions, err := readVersions(ctx, d.conn, d.folder.Key)
	if err != nil {
		return err
	}
	var shown []draftVersion
	for _, v := range newestVersions(versions) {
		if position.before == 0 || v.uid < position.before {
			shown = append(shown, v)
		}
	}
	shown, resp.NextPageToken, err = cutPage(s.pager, req, shown, func(v draftVersion) []byte {
		return folderPosition{validity: validity, before: v.uid}.appendTo(nil)
	})
	if err != nil {
		return err
	}
	resp.Drafts, err = d.list(ctx, shown)
	return err
}

// list reads versions as lists show them. One that is gone by now is left out.
func (d openDraft) list(ctx context.Context, versions []draftVersion) ([]*posternv1.Draft, error) {
	if len(versions) == 0 {
		return nil, nil
	}
	found := make(map[imap.UID]*imapconn.FetchMessage, len(versions))
	var messages []*imapconn.FetchMessage
	err := d.conn.Fetch(ctx, setOf(versions), viewOptions(posternv1.Message_METADATA, nil), func(m *imapconn.FetchMessage) error {
		// News of its flags may come in an answer of its own.
		if m.UID != 0 && m.Size > 0 && found[m.UID] == nil {
			found[m.UID] = m
			messages = append(messages, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	envelopes, err := account.ReadEnvelopes(ctx, d.conn, messages)
	if err != nil {
		return nil, err
	}
	a := pinned(d.account, d.conn.Caps())
	var drafts []*posternv1.Draft
	for _, v := range versions {
		m := found[v.uid]
		if m == nil {
			continue
		}
		id := d.placement(v)
		shown, _ := messageProto(a, id, m, posternv1.Message_METADATA, envelopes[m.UID])
		drafts = append(drafts, draftProto(a.ID, v, id, shown))
	}
	return drafts, nil
}
