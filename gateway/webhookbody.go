package gateway

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/webhook"
)

// MessageBody reads the text and HTML of a message for webhooks that send it, as
// GetMessage does. Each is cut at limit bytes. It fails with
// [webhook.ErrMessageGone] when there is no such message any more. Nobody calls here:
// who may have the body sent was settled when the webhook was made.
func (g *Gateway) MessageBody(ctx context.Context, name string, limit int) (webhook.Body, error) {
	m, err := g.messages.GetMessage(inside(ctx), &posternv1.GetMessageRequest{
		Name: name, View: posternv1.Message_FULL, MaxBodyBytes: int32(limit),
	})
	if err != nil {
		if classify(ctx, err).code == codes.NotFound {
			return webhook.Body{}, fmt.Errorf("%w: %w", webhook.ErrMessageGone, err)
		}
		return webhook.Body{}, err
	}
	body := m.GetBody()
	return webhook.Body{Text: body.GetText(), HTML: body.GetHtml(), Truncated: body.GetTruncated()}, nil
}
