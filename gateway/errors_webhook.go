package gateway

import (
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/webhook"
)

func classifyWebhooks(err error) *failure {
	switch {
	case errors.Is(err, webhook.ErrNotFound):
		return refuse(codes.NotFound, reasonWebhookNotFound, "There is no such webhook.").because(err)
	case errors.Is(err, webhook.ErrUnreadable):
		return refuse(codes.DataLoss, reasonRecordUnreadable, unreadableMessage, "webhook").because(err)
	case errors.Is(err, webhook.ErrDeadLetterNotFound):
		return refuse(codes.NotFound, reasonDeadLetterNotFound, "There is no such dead letter: it was sent anew, deleted, or has expired.").because(err)
	case errors.Is(err, webhook.ErrNotChosen):
		return refuse(codes.FailedPrecondition, reasonEventNotChosen,
			"The webhook does not choose the event of this dead letter any more: change what it chooses, or delete the dead letter.").because(err)
	case errors.Is(err, webhook.ErrExists):
		return refuse(codes.AlreadyExists, reasonWebhookExists, "There is a webhook with this id already: choose another one.").because(err)
	case errors.Is(err, webhook.ErrDisabled):
		return refuse(codes.FailedPrecondition, reasonWebhookDisabled, "The webhook is disabled: enable it first.").because(err)
	case errors.Is(err, webhook.ErrEtagMismatch):
		return refuse(codes.Aborted, reasonEtagMismatch,
			"Somebody else has changed the webhook meanwhile: get it again, and repeat the change with its new etag.").because(err)
	}
	return nil
}
