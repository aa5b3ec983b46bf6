package gateway

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
)

// accountReader looks accounts up.
type accountReader interface {
	// Get fails with [account.ErrNotFound].
	Get(ctx context.Context, id string) (*account.Account, error)
}

// accountService implements AccountService.
type accountService struct {
	posternv1.UnimplementedAccountServiceServer
	registry  visibleAccounts
	connector verifier
	searches  *searches
	pager     pager
}

var accountFields = (&posternv1.Account{}).ProtoReflect().Descriptor()

// accountID is the id in a name whose form was validated.
func accountID(name string) string { return strings.TrimPrefix(name, "accounts/") }

// CreateAccount implements AccountService.
func (s *accountService) CreateAccount(ctx context.Context, req *posternv1.CreateAccountRequest) (*posternv1.Account, error) {
	a := &account.Account{ID: req.GetAccountId()}
	applySettings(a, req.GetAccount())
	if req.GetValidateOnly() {
		return s.dryRun(ctx, a)
	}
	created, err := s.registry.Create(ctx, a, req.GetRequestId())
	if err != nil {
		return nil, fmt.Errorf("create account: %w", err)
	}
	return s.accountProto(created), nil
}

// dryRun checks what CreateAccount would, and stores nothing.
func (s *accountService) dryRun(ctx context.Context, a *account.Account) (*posternv1.Account, error) {
	if err := s.registry.mayHave(ctx, a); err != nil {
		return nil, err
	}
	a.Normalize()
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if a.ID != "" {
		if _, err := s.registry.Get(ctx, a.ID); err == nil {
			return nil, fmt.Errorf("account %s: %w", a.ID, account.ErrExists)
		}
	}
	return s.accountProto(a), nil
}

// GetAccount implements AccountService.
func (s *accountService) GetAccount(ctx context.Context, req *posternv1.GetAccountRequest) (*posternv1.Account, error) {
	paths, err := readPaths(req.GetReadMask(), accountFields, "read_mask")
	if err != nil {
		return nil, err
	}
	a, err := s.registry.Get(ctx, accountID(req.GetName()))
	if err != nil {
		return nil, err
	}
	out := s.accountProto(a)
	keep(out, paths)
	return out, nil
}

// ListAccounts implements AccountService.
func (s *accountService) ListAccounts(ctx context.Context, req *posternv1.ListAccountsRequest) (*posternv1.ListAccountsResponse, error) {
	paths, err := readPaths(req.GetReadMask(), accountFields, "read_mask")
	if err != nil {
		return nil, err
	}
	match, err := accountMatch(req.GetFilter())
	if err != nil {
		return nil, err
	}
	pager := s.pager.seenBy(ctx)
	after, err := pager.position(req)
	if err != nil {
		return nil, err
	}
	accounts, more := s.registry.List(ctx, match, string(after), pageSize(req.GetPageSize()))
	resp := &posternv1.ListAccountsResponse{}
	for _, a := range accounts {
		out := s.accountProto(a)
		keep(out, paths)
		resp.Accounts = append(resp.Accounts, out)
	}
	if more {
		resp.NextPageToken, err = pager.token(req, []byte(accounts[len(accounts)-1].ID))
	}
	return resp, err
}

// UpdateAccount implements AccountService.
func (s *accountService) UpdateAccount(ctx context.Context, req *posternv1.UpdateAccountRequest) (*posternv1.Account, error) {
	in := req.GetAccount()
	paths, err := namedPaths(req.GetUpdateMask(), in, settableAccount)
	if err != nil {
		return nil, err
	}
	updated, err := s.registry.Update(ctx, accountID(in.GetName()), in.GetEtag(), func(a *account.Account) error {
		before, settings := a.Clone(), settingsProto(a)
		for _, path := range paths {
			overwrite(settings.ProtoReflect(), in.ProtoReflect(), path)
		}
		forgetAccessTokens(settings, paths)
		applySettings(a, settings)
		a.Normalize()
		return checkCredentialsStay(before, a, paths)
	})
	if err != nil {
		return nil, fmt.Errorf("update account: %w", err)
	}
	return s.accountProto(updated), nil
}

// settableAccount are the fields that an update may change. Of the others, the registry
// refuses another backfill, and the rest changes nothing.
var settableAccount = []string{"display_name", "email", "imap", "smtp", "watch", "sending", "labels"}

// DeleteAccount implements AccountService.
func (s *accountService) DeleteAccount(ctx context.Context, req *posternv1.DeleteAccountRequest) (*emptypb.Empty, error) {
	if err := s.registry.Delete(ctx, accountID(req.GetName()), req.GetEtag()); err != nil {
		return nil, fmt.Errorf("delete account: %w", err)
	}
	return &emptypb.Empty{}, nil
}
