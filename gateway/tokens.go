package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/token"
)

// tokenService implements TokenService.
type tokenService struct {
	posternv1.UnimplementedTokenServiceServer
	tokens   *token.Store
	requests *requestid.Store
	pager    pager
}

// CreateToken implements TokenService. Where the call can be repeated, what is
// planned is the token itself, which is kept sealed for as long as that.
func (s *tokenService) CreateToken(ctx context.Context, req *posternv1.CreateTokenRequest) (*posternv1.Token, error) {
	who := access.From(ctx)
	wanted := &token.Token{Creator: who.ID}
	if err := applyToken(wanted, req.GetToken()); err != nil {
		return nil, err
	}
	if !wanted.ExpireTime.IsZero() {
		if err := checkExpiry(wanted.ExpireTime); err != nil {
			return nil, err
		}
	}
	if err := s.mayHand(ctx, who, wanted); err != nil {
		return nil, err
	}
	// Nobody else gets the token by guessing the id of a request.
	attempt, err := s.requests.Begin(ctx, who.ID+"/CreateToken", req.GetRequestId(), contentOf(req), token.NewSecret().Text().Reveal())
	if err != nil {
		return nil, err
	}
	planned, ok := token.ParseSecret(secret.New(attempt.Plan))
	if !ok {
		return nil, errors.New("create token: the plan of an earlier call is no token")
	}
	if attempt.Outcome != "" {
		return s.created(ctx, planned)
	}
	made, err := s.tokens.Create(ctx, planned, wanted)
	if err != nil {
		return nil, fmt.Errorf("create token: %w", err)
	}
	// Without this note a repetition finds the token by its id.
	_ = attempt.Finish(ctx, made.ID)
	return withToken(made, planned), nil
}

// created is the token that an earlier attempt has made, as it is now.
func (s *tokenService) created(ctx context.Context, planned token.Secret) (*posternv1.Token, error) {
	made, err := s.tokens.Get(ctx, planned.ID())
	switch {
	case errors.Is(err, token.ErrNotFound), err == nil && made.State(time.Now()) != token.Active:
		return nil, fmt.Errorf("the token has ended since it was created: %w", requestid.ErrReused)
	case err != nil:
		return nil, err
	}
	return withToken(made, planned), nil
}

// mayHand refuses a token that may do more than who makes or changes it, or for
// longer.
func (s *tokenService) mayHand(ctx context.Context, who access.Principal, t *token.Token) error {
	var lacks []string
	for _, scope := range t.Scopes {
		if !who.Has(scope) {
			lacks = append(lacks, string(scope))
		}
	}
	if len(lacks) > 0 {
		list := strings.Join(lacks, ", ")
		return refuse(codes.PermissionDenied, reasonScopeMissing,
			"A token cannot have scopes that you do not have yourself: %s.", list).with("scopes", list)
	}
	if !who.Covers(t.Grant) {
		return exceedsGrant("token.accounts",
			"A token cannot be for accounts that are not yours: bind it to some of those that you are bound to.")
	}
	own, err := s.ownToken(ctx, who)
	if err != nil || own == nil || own.ExpireTime.IsZero() {
		return err
	}
	if t.ExpireTime.IsZero() || t.ExpireTime.After(own.ExpireTime) {
		expires := own.ExpireTime.Format(time.RFC3339)
		return exceedsGrant("token.expire_time", "A token cannot outlive the one that it is made with, which expires at %s.", expires)
	}
	return nil
}

// ownToken is the token that a caller shows, nil where they show something else.
func (s *tokenService) ownToken(ctx context.Context, who access.Principal) (*token.Token, error) {
	id, ok := strings.CutPrefix(who.ID, "tokens/")
	if !ok {
		return nil, nil
	}
	own, err := s.tokens.Get(ctx, id)
	if errors.Is(err, token.ErrNotFound) {
		return nil, tokenEnded() // a moment ago
	}
	return own, err
}

// seen gives a token that the caller may see.
func (s *tokenService) seen(ctx context.Context, name string) (*token.Token, error) {
	t, err := s.tokens.Get(ctx, tokenID(name))
	if err == nil && !access.From(ctx).Covers(t.Grant) {
		err = fmt.Errorf("token %q: %w", tokenID(name), token.ErrNotFound)
	}
	return t, err
}

// GetToken implements TokenService.
func (s *tokenService) GetToken(ctx context.Context, req *posternv1.GetTokenRequest) (*posternv1.Token, error) {
	paths, err := readPaths(req.GetReadMask(), tokenFields, "read_mask")
	if err != nil {
		return nil, err
	}
	t, err := s.seen(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	out := tokenProto(t)
	keep(out, paths)
	return out, nil
}

// ListTokens implements TokenService.
func (s *tokenService) ListTokens(ctx context.Context, req *posternv1.ListTokensRequest) (*posternv1.ListTokensResponse, error) {
	paths, err := readPaths(req.GetReadMask(), tokenFields, "read_mask")
	if err != nil {
		return nil, err
	}
	pager := s.pager.seenBy(ctx)
	after, err := pager.position(req)
	if err != nil {
		return nil, err
	}
	who, at := access.From(ctx), time.Now()
	tokens := slices.DeleteFunc(s.tokens.All(), func(t *token.Token) bool {
		return len(after) > 0 && listPlace(t) >= string(after) || !who.Covers(t.Grant) ||
			req.GetState() != posternv1.Token_STATE_UNSPECIFIED && tokenState(t.State(at)) != req.GetState()
	})
	page, next, err := cutPage(pager, req, tokens, func(t *token.Token) []byte { return []byte(listPlace(t)) })
	resp := &posternv1.ListTokensResponse{NextPageToken: next}
	for _, t := range page {
		out := tokenProto(t)
		keep(out, paths)
		resp.Tokens = append(resp.Tokens, out)
	}
	return resp, err
}

// listPlace is where a token stands in the list, which goes down.
func listPlace(t *token.Token) string { return fmt.Sprintf("%020d/%s", t.CreateTime.UnixMicro(), t.ID) }

// UpdateToken implements TokenService.
func (s *tokenService) UpdateToken(ctx context.Context, req *posternv1.UpdateTokenRequest) (*posternv1.Token, error) {
	who, in := access.From(ctx), req.GetToken()
	paths, err := updatePaths(req.GetUpdateMask(), in, settableToken)
	if err != nil {
		return nil, err
	}
	if _, err := s.seen(ctx, in.GetName()); err != nil {
		return nil, err
	}
	updated, err := s.tokens.Update(ctx, tokenID(in.GetName()), in.GetEtag(), func(t *token.Token) error {
		if !who.Covers(t.Grant) { // it was allowed more meanwhile
			return token.ErrNotFound
		}
		settings := tokenProto(t)
		for _, path := range paths {
			overwrite(settings.ProtoReflect(), in.ProtoReflect(), path)
		}
		before := t.ExpireTime
		if err := applyToken(t, settings); err != nil {
			return err
		}
		if names(paths, "expire_time") && !t.ExpireTime.IsZero() && !t.ExpireTime.Equal(before) {
			if err := checkExpiry(t.ExpireTime); err != nil {
				return err
			}
		}
		return s.mayHand(ctx, who, t)
	})
	if err != nil {
		return nil, fmt.Errorf("update token: %w", err)
	}
	return tokenProto(updated), nil
}

// RevokeToken implements TokenService.
func (s *tokenService) RevokeToken(ctx context.Context, req *posternv1.RevokeTokenRequest) (*posternv1.Token, error) {
	if _, err := s.seen(ctx, req.GetName()); err != nil {
		return nil, err
	}
	revoked, err := s.tokens.Revoke(ctx, tokenID(req.GetName()), req.GetEtag())
	if err != nil {
		return nil, fmt.Errorf("revoke token: %w", err)
	}
	return tokenProto(revoked), nil
}

// DeleteToken implements TokenService.
func (s *tokenService) DeleteToken(ctx context.Context, req *posternv1.DeleteTokenRequest) (*emptypb.Empty, error) {
	if _, err := s.seen(ctx, req.GetName()); err != nil {
		return nil, err
	}
	if err := s.tokens.Delete(ctx, tokenID(req.GetName()), req.GetEtag()); err != nil {
		return nil, fmt.Errorf("delete token: %w", err)
	}
	return &emptypb.Empty{}, nil
}

// WhoAmI implements TokenService.
func (s *tokenService) WhoAmI(ctx context.Context, _ *posternv1.WhoAmIRequest) (*posternv1.Caller, error) {
	who := access.From(ctx)
	out := &posternv1.Caller{Principal: who.ID, AccountLabels: who.Labels}
	out.Scopes, out.Accounts = scopesProto(who.Scopes), accountNames(who.Accounts)
	own, err := s.ownToken(ctx, who)
	if own != nil {
		out.ExpireTime = timeProto(own.ExpireTime)
	}
	return out, err
}
