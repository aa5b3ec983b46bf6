package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/submit"
)

// blockService implements BlockService.
type blockService struct {
	posternv1.UnimplementedBlockServiceServer
	accounts accountReader
	store    *submit.Store
	pager    pager
}

// resolve reads the name of a block.
func (s *blockService) resolve(ctx context.Context, name string) (accountID, id string, err error) {
	accountID, id, _ = strings.Cut(strings.TrimPrefix(name, "accounts/"), "/blocks/")
	_, err = s.accounts.Get(ctx, accountID)
	return accountID, id, err
}

func blockProto(b *submit.Block) *posternv1.Block {
	out := &posternv1.Block{
		Name: fmt.Sprintf("accounts/%s/blocks/%s", b.Account, b.ID), Address: b.Address, Reason: b.Reason,
		Origin: posternv1.Block_API, CreateTime: timeProto(b.CreateTime),
	}
	if b.Unsubscribed {
		out.Origin = posternv1.Block_UNSUBSCRIBED
	}
	return out
}

// blockID is the id of the block of an address, which a field of the request has.
func blockID(field, address string) (string, error) {
	id, err := submit.BlockID(address)
	if err != nil {
		return "", refuseField(field, reasonArgumentInvalid, "%s: %v.", said(address), err)
	}
	return id, nil
}

// CreateBlock implements BlockService.
func (s *blockService) CreateBlock(ctx context.Context, req *posternv1.CreateBlockRequest) (*posternv1.Block, error) {
	in := req.GetBlock()
	id, err := blockID("block.address", in.GetAddress())
	if err != nil {
		return nil, err
	}
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	made, err := s.store.CreateBlock(ctx, submit.Block{ID: id, Account: a.ID, Address: in.GetAddress(), Reason: in.GetReason()})
	if err != nil {
		return nil, err
	}
	return blockProto(made), nil
}

// GetBlock implements BlockService.
func (s *blockService) GetBlock(ctx context.Context, req *posternv1.GetBlockRequest) (*posternv1.Block, error) {
	accountID, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	block, err := s.store.Block(ctx, accountID, id)
	if err != nil {
		return nil, err
	}
	return blockProto(block), nil
}

// ListBlocks implements BlockService.
func (s *blockService) ListBlocks(ctx context.Context, req *posternv1.ListBlocksRequest) (*posternv1.ListBlocksResponse, error) {
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	if req.GetAddress() != "" {
		return s.find(ctx, a.ID, req.GetAddress())
	}
	after, err := s.pager.position(req)
	if err != nil {
		return nil, err
	}
	blocks, err := s.store.Blocks(ctx, a.ID, string(after), pageSize(req.GetPageSize())+1)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	page, next, err := cutPage(s.pager, req, blocks, func(b *submit.Block) []byte { return []byte(b.ID) })
	resp := &posternv1.ListBlocksResponse{NextPageToken: next}
	for _, block := range page {
		resp.Blocks = append(resp.Blocks, blockProto(block))
	}
	return resp, err
}

// find is the list of the one block of an address.
func (s *blockService) find(ctx context.Context, account, address string) (*posternv1.ListBlocksResponse, error) {
	id, err := blockID("address", address)
	if err != nil {
		return nil, err
	}
	block, err := s.store.Block(ctx, account, id)
	if errors.Is(err, submit.ErrBlockNotFound) {
		return &posternv1.ListBlocksResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &posternv1.ListBlocksResponse{Blocks: []*posternv1.Block{blockProto(block)}}, nil
}

// DeleteBlock implements BlockService.
func (s *blockService) DeleteBlock(ctx context.Context, req *posternv1.DeleteBlockRequest) (*emptypb.Empty, error) {
	accountID, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteBlock(ctx, accountID, id); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// rejectBlocked leaves those recipients out that the account blocks, or refuses the
// submission for them.
func (s *submissionService) rejectBlocked(ctx context.Context, submission *submit.Submission, in *posternv1.Submission) error {
	blocked, err := s.store.Reject(ctx, submission)
	if err != nil {
		return fmt.Errorf("look at the blocklist: %w", err)
	}
	if len(blocked) == 0 || in.GetOnBlocked() != posternv1.Submission_REFUSE {
		return nil
	}
	return refuse(codes.FailedPrecondition, reasonRecipientBlocked, "%s is on the account's blocklist: leave it out, or delete its block.", said(blocked[0])).
		with("address", said(blocked[0]))
}
