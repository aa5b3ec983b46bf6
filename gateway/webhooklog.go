package gateway

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/webhook"
)

// ListDeliveries implements WebhookService.
func (s *webhookService) ListDeliveries(ctx context.Context, req *posternv1.ListDeliveriesRequest) (*posternv1.ListDeliveriesResponse, error) {
	below, err := s.attempts.sequence(req)
	if err != nil {
		return nil, err
	}
	id := webhookID(req.GetParent())
	attempts, err := s.webhooks.Attempts(ctx, id, below)
	if err != nil {
		return nil, err
	}
	attempts = slices.DeleteFunc(attempts, func(a webhook.Attempt) bool {
		return req.GetEventId() != "" && a.EventID != req.GetEventId() || req.GetFailed() && a.Outcome == webhook.Succeeded
	})
	page, next, err := cutPage(s.attempts, req, attempts, func(a webhook.Attempt) []byte { return sequencePosition(a.Sequence) })
	resp := &posternv1.ListDeliveriesResponse{NextPageToken: next}
	for i := range page {
		resp.Deliveries = append(resp.Deliveries, deliveryProto(id, &page[i]))
	}
	return resp, err
}

// ListDeadLetters implements WebhookService.
func (s *webhookService) ListDeadLetters(ctx context.Context, req *posternv1.ListDeadLettersRequest) (*posternv1.ListDeadLettersResponse, error) {
	after, err := s.letters.sequence(req)
	if err != nil {
		return nil, err
	}
	id := webhookID(req.GetParent())
	letters, next, err := s.webhooks.DeadLetters(ctx, id, after, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListDeadLettersResponse{}
	for i := range letters {
		resp.DeadLetters = append(resp.DeadLetters, deadLetterProto(id, &letters[i]))
	}
	if next > 0 {
		resp.NextPageToken, err = s.letters.token(req, sequencePosition(next))
	}
	return resp, err
}

// deadLetterID is the event's id in the name of a dead letter of a webhook.
func deadLetterID(name string) (webhookID, eventID string) {
	webhookID, eventID, _ = strings.Cut(strings.TrimPrefix(name, "webhooks/"), "/deadLetters/")
	return webhookID, eventID
}

// RedriveDeadLetters implements WebhookService.
func (s *webhookService) RedriveDeadLetters(ctx context.Context, req *posternv1.RedriveDeadLettersRequest) (*posternv1.RedriveDeadLettersResponse, error) {
	id := webhookID(req.GetParent())
	var events []string
	for _, name := range req.GetNames() {
		of, eventID := deadLetterID(name)
		if of != id {
			return nil, refuseField("names", reasonArgumentInvalid, "%q is not a dead letter of %s.", said(name), req.GetParent())
		}
		events = append(events, eventID)
	}
	redriven, err := s.webhooks.Redrive(ctx, id, events)
	if err != nil {
		return nil, err
	}
	return &posternv1.RedriveDeadLettersResponse{Redriven: int32(redriven)}, nil
}

// DeleteDeadLetter implements WebhookService.
func (s *webhookService) DeleteDeadLetter(ctx context.Context, req *posternv1.DeleteDeadLetterRequest) (*emptypb.Empty, error) {
	id, eventID := deadLetterID(req.GetName())
	if err := s.webhooks.DropDeadLetter(ctx, id, eventID); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
