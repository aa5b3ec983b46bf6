package gateway

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// DeleteDraft implements DraftService.
func (s *draftService) DeleteDraft(ctx context.Context, req *posternv1.DeleteDraftRequest) (*emptypb.Empty, error) {
	a, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	done, err := s.turns.take(ctx, a.ID+"/"+id)
	if err != nil {
		return nil, err
	}
	defer done()
	f, err := s.folderFor(ctx, a, false)
	if err != nil {
		return nil, err
	}
	err = s.in(ctx, a, f, nil, func(d openDraft) error {
		versions, err := readVersions(ctx, d.conn, d.folder.Key)
		if err != nil {
			return err
		}
		own := versionsOf(versions, id)
		switch {
		case len(own) == 0:
			return draftNotFound()
		case req.GetEtag() != "" && req.GetEtag() != draftEtag(d.conn.SelectData().UIDValidity, own[0].uid):
			return draftChanged()
		}
		return d.conn.Remove(ctx, setOf(own))
	})
	if err != nil {
		return nil, fmt.Errorf("delete draft: %w", err)
	}
	s.look(a)
	return &emptypb.Empty{}, nil
}
