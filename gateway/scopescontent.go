package gateway

import (
	"context"
	"slices"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/access"
)

// Some calls need more than their method does, because of what they ask for: sending
// and webhooks carry content of the mailbox to where the caller wants to have it, so
// the caller must be one who may read it.

// submissionNeeds is what a submission needs besides the right to send: to read the
// mailbox for what it takes from there, and to change it for a draft, which is
// removed once it was sent.
func submissionNeeds(in *posternv1.Submission) need {
	refers := func(a *posternv1.OutgoingAttachment) bool { return a.GetAttachment() != "" }
	switch {
	case in.GetDraft() != "":
		return needsAll(access.MessagesWrite)
	case in.GetReply() != nil, slices.ContainsFunc(in.GetAttachments(), refers):
		return needsAll(access.MessagesRead)
	}
	return need{}
}

// webhookNeeds is what a webhook needs besides the right to manage webhooks, by what
// it sends. A thin one only says that something has happened.
func webhookNeeds(payload posternv1.Webhook_Payload) need {
	switch payload {
	case posternv1.Webhook_THIN:
		return need{}
	case posternv1.Webhook_BODY:
		return needsAll(access.EventsRead, access.MessagesRead)
	default: // the envelope
		return needsAll(access.EventsRead)
	}
}

func maySubmit(ctx context.Context, in *posternv1.Submission) error {
	return submissionNeeds(in).check(access.From(ctx).Grant, "A submission that takes something from the mailbox")
}

func maySendEvents(ctx context.Context, hook *posternv1.Webhook) error {
	return webhookNeeds(hook.GetPayload()).check(access.From(ctx).Grant, "A webhook with this payload")
}
