package gateway

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/discover"
	"github.com/postern-mail/postern/internal/limit"
)

// How many domains are looked at at a time, and for one token while there are others.
const (
	maxSearches         = 32
	maxSearchesPerToken = 8
)

// searches are the looks for mail servers that are under way. Whoever may register
// accounts chooses whom Postern asks, so their number and their rate are bounded, and
// a domain is looked at once for all who ask at the same time.
type searches struct {
	finder  *discover.Finder
	limiter *limiter
	line    *limit.Line
	wait    time.Duration
	domains turns
}

func newSearches(finder *discover.Finder, limiter *limiter, wait time.Duration) *searches {
	return &searches{finder: finder, limiter: limiter, wait: wait, line: limit.NewLine(maxSearches, maxSearchesPerToken)}
}

// find gives the candidates for an address. Only those for which somebody has to be
// asked count.
func (s *searches) find(ctx context.Context, address discover.Address) ([]discover.Candidate, error) {
	if known, ok := s.finder.Known(address); ok {
		return known, nil
	}
	done, err := s.domains.take(ctx, address.Domain)
	if err != nil {
		return nil, err
	}
	defer done()
	if known, ok := s.finder.Known(address); ok { // since somebody else has asked
		return known, nil
	}
	if err := s.limiter.discover(ctx); err != nil {
		return nil, err
	}
	who := access.From(ctx).ID
	if err := s.enter(ctx, who); err != nil {
		return nil, err
	}
	defer s.line.Leave(who)
	return s.finder.Find(ctx, address)
}

// enter waits for a place among those who look.
func (s *searches) enter(ctx context.Context, who string) error {
	patient, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	err := s.line.Enter(patient, who)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return refuse(codes.ResourceExhausted, reasonRateLimited,
		"The mail servers of %d domains are being looked for: make fewer requests at once.", s.line.Held()).
		with("limit", limitDiscoveries).with("value", strconv.Itoa(maxSearches)).retryAfter(rateLimitedRetry)
}

// DiscoverAccount implements AccountService.
func (s *accountService) DiscoverAccount(ctx context.Context, req *posternv1.DiscoverAccountRequest) (*posternv1.DiscoverAccountResponse, error) {
	address, err := discover.ParseAddress(req.GetEmail())
	if bad, ok := errors.AsType[*discover.AddressError](err); ok {
		return nil, refuseField("email", reasonArgumentInvalid, "The email address %s.", bad.Problem)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.searches.find(ctx, address)
	if err != nil {
		return nil, err
	}
	resp := &posternv1.DiscoverAccountResponse{}
	for i := range found {
		resp.Candidates = append(resp.Candidates, s.candidateProto(&found[i]))
	}
	return resp, nil
}

func (s *accountService) candidateProto(c *discover.Candidate) *posternv1.DiscoverAccountResponse_Candidate {
	out := &posternv1.DiscoverAccountResponse_Candidate{
		Source:   posternv1.DiscoverAccountResponse_Candidate_Source(posternv1.DiscoverAccountResponse_Candidate_Source_value[string(c.Source)]),
		Provider: c.Provider, Imap: s.foundServer(&c.IMAP), Verified: c.Verified, Confirm: c.Confirm, Note: c.Note,
	}
	if c.SMTP != nil {
		out.Smtp = s.foundServer(c.SMTP)
	}
	for _, method := range c.Methods {
		number := posternv1.DiscoverAccountResponse_Candidate_AuthMethod_value[string(method)]
		out.AuthMethods = append(out.AuthMethods, posternv1.DiscoverAccountResponse_Candidate_AuthMethod(number))
	}
	if c.OAuth2 != nil {
		out.Oauth2 = &posternv1.DiscoverAccountResponse_Candidate_AuthorizationServer{
			AuthorizationUrl: c.OAuth2.AuthorizationURL, TokenUrl: c.OAuth2.TokenURL, Scopes: c.OAuth2.Scopes,
		}
	}
	return out
}

// foundServer is a server as an account takes it.
func (s *accountService) foundServer(server *discover.Server) *posternv1.MailServer {
	endpoint := &account.Endpoint{
		Host: server.Host, Port: server.Port, TLSMode: account.TLSMode(server.TLSMode.String()), Username: server.Username,
	}
	out := serverProto(endpoint)
	out.Unverified = s.connector.Unverified(endpoint)
	return out
}
