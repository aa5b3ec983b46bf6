package gateway

import (
	"context"
	"fmt"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// PauseAccount implements AccountService.
func (s *accountService) PauseAccount(ctx context.Context, req *posternv1.PauseAccountRequest) (*posternv1.Account, error) {
	a, err := s.registry.SetPaused(ctx, accountID(req.GetName()), true)
	if err != nil {
		return nil, fmt.Errorf("pause account: %w", err)
	}
	return s.accountProto(a), nil
}

// ResumeAccount implements AccountService.
func (s *accountService) ResumeAccount(ctx context.Context, req *posternv1.ResumeAccountRequest) (*posternv1.Account, error) {
	a, err := s.registry.SetPaused(ctx, accountID(req.GetName()), false)
	if err != nil {
		return nil, fmt.Errorf("resume account: %w", err)
	}
	return s.accountProto(a), nil
}

// ReconnectAccount implements AccountService.
func (s *accountService) ReconnectAccount(ctx context.Context, req *posternv1.ReconnectAccountRequest) (*posternv1.Account, error) {
	a, err := s.registry.Reconnect(ctx, accountID(req.GetName()))
	if err != nil {
		return nil, fmt.Errorf("reconnect account: %w", err)
	}
	return s.accountProto(a), nil
}

// ResyncAccount implements AccountService.
func (s *accountService) ResyncAccount(ctx context.Context, req *posternv1.ResyncAccountRequest) (*posternv1.Account, error) {
	a, err := s.registry.Resync(ctx, accountID(req.GetName()))
	if err != nil {
		return nil, fmt.Errorf("resync account: %w", err)
	}
	return s.accountProto(a), nil
}
