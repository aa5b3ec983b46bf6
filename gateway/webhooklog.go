package gateway

import (
	"context"
	"encoding/binary"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/webhook"
)

// sequenceOf reads a page token whose position is a number, 0 without a token.
func sequenceOf(p pager, req proto.Message, token string) (uint64, error) {
	if token == "" {
		return 0, nil
	}
	position, err := p.position(req, token)
	if err != nil {
		return 0, err
	}
	sequence, _ := binary.Uvarint(position) // sealed here, so it is one
	return sequence, nil
}

// ListDeliveries implements WebhookService.
func (s *webhookService) ListDeliveries(ctx context.Context, req *posternv1.ListDeliveriesRequest) (*posternv1.ListDeliveriesResponse, error) {
	below, err := sequenceOf(s.attempts, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	id := webhookID(req.GetParent())
	attempts, err := s.webhooks.Attempts(ctx, id, below)
	if err != nil {
		return nil, err
	}
	resp, limit := &posternv1.ListDeliveriesResponse{}, pageSize(req.GetPageSize())
	last := uint64(0)
	for i := range attempts {
		a := &attempts[i]
		if req.GetEventId() != "" && a.EventID != req.GetEventId() || req.GetFailed() && a.Outcome == webhook.Succeeded {
			continue
		}
		if len(resp.Deliveries) == limit {
			resp.NextPageToken, err = s.attempts.token(req, binary.AppendUvarint(nil, last))
			break
		}
		resp.Deliveries, last = append(resp.Deliveries, deliveryProto(id, a)), a.Sequence
	}
	return resp, err
}

// ListDeadLetters implements WebhookService.
func (s *webhookService) ListDeadLetters(ctx context.Context, req *posternv1.ListDeadLettersRequest) (*posternv1.ListDeadLettersResponse, error) {
	after, err := sequenceOf(s.letters, req, req.GetPageToken())
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
		resp.NextPageToken, err = s.letters.token(req, binary.AppendUvarint(nil, next))
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
