package gateway

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/audit"
	"github.com/postern-mail/postern/internal/event"
)

// auditService implements AuditService.
type auditService struct {
	posternv1.UnimplementedAuditServiceServer
	log   *audit.Log // nil where none is kept
	pager pager
}

// ListAuditEntries implements AuditService.
func (s *auditService) ListAuditEntries(ctx context.Context, req *posternv1.ListAuditEntriesRequest) (*posternv1.ListAuditEntriesResponse, error) {
	if s.log == nil {
		return nil, refuse(codes.FailedPrecondition, reasonAuditOff, "No audit log is kept here: the operator can have one with --audit all.")
	}
	query := audit.Query{Principal: req.GetPrincipal(), Account: accountID(req.GetAccount()), Method: req.GetMethod(), Code: req.GetCode()}
	for _, one := range []struct {
		field string
		given *timestamppb.Timestamp
		to    *time.Time
	}{{"start_time", req.GetStartTime(), &query.Start}, {"end_time", req.GetEndTime(), &query.End}} {
		if one.given == nil {
			continue
		}
		if !one.given.IsValid() {
			return nil, refuseField(one.field, reasonArgumentInvalid, "It is no time between the years 1 and 9999.")
		}
		*one.to = one.given.AsTime()
	}
	pager := s.pager.seenBy(ctx)
	below, err := pager.sequence(req)
	if err != nil {
		return nil, err
	}
	entries, next, err := s.log.List(ctx, query, below, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListAuditEntriesResponse{}
	for _, e := range entries {
		resp.Entries = append(resp.Entries, auditEntryProto(e))
	}
	if next > 0 {
		resp.NextPageToken, err = pager.token(req, sequencePosition(next))
	}
	return resp, err
}

func auditEntryProto(e *audit.Entry) *posternv1.AuditEntry {
	out := &posternv1.AuditEntry{
		Time: timeProto(e.Time), Principal: e.Principal, Method: e.Method, Resources: e.Resources,
		Code: e.Code, Reason: e.Reason, RequestId: e.RequestID, RemoteAddress: e.Remote, Duration: durationpb.New(e.Duration),
		Node: e.Node, Begun: e.Begun, Suppressed: int64(e.Suppressed), Lost: int64(e.Lost),
	}
	if e.Account != "" {
		out.Account = event.AccountName(e.Account)
	}
	return out
}
