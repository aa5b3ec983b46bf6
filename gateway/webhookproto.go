package gateway

import (
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/secret"
	"github.com/postern-mail/postern/internal/webhook"
)

// webhookProto is a webhook as it is answered: without its secrets.
func webhookProto(hook *webhook.Webhook) *posternv1.Webhook {
	out := webhookSettings(hook)
	out.HeaderNames = slices.Sorted(maps.Keys(out.GetHeaders()))
	out.Headers, out.Secret = nil, ""
	out.State = posternv1.Webhook_ENABLED
	if hook.Disabled != "" {
		out.State = posternv1.Webhook_DISABLED
	}
	out.DisabledReason = posternv1.Webhook_DisabledReason(posternv1.Webhook_DisabledReason_value[string(hook.Disabled)])
	out.DisableTime, out.FailingSince = timeProto(hook.DisableTime), timeProto(hook.FailingSince)
	out.PreviousSecretExpireTime = timeProto(hook.PreviousExpiry)
	out.LastError = hook.LastError
	out.CreateTime, out.UpdateTime = timeProto(hook.CreateTime), timeProto(hook.UpdateTime)
	out.Etag = hook.Etag
	return out
}

// withSecret is a webhook with its secret, for the answers that show it.
func withSecret(hook *webhook.Webhook) *posternv1.Webhook {
	out := webhookProto(hook)
	out.Secret = hook.Secret.Reveal()
	return out
}

// webhookSettings is what of a webhook can be set, secrets included. It is what
// an update changes and must not leave the process.
func webhookSettings(hook *webhook.Webhook) *posternv1.Webhook {
	out := &posternv1.Webhook{
		Name:           event.WebhookName(hook.ID),
		DisplayName:    hook.DisplayName,
		Url:            hook.URL,
		AccountLabels:  hook.AccountLabels,
		Folders:        hook.Folders,
		Payload:        posternv1.Webhook_Payload(posternv1.Webhook_Payload_value[string(hook.Payload)]),
		Ordered:        hook.Ordered,
		MaxConcurrency: int32(hook.MaxConcurrency),
		Secret:         hook.Secret.Reveal(),
	}
	for _, t := range hook.Types {
		out.Types = append(out.Types, string(t))
	}
	for _, id := range hook.Accounts {
		out.Accounts = append(out.Accounts, event.AccountName(id))
	}
	if len(hook.Headers) > 0 {
		out.Headers = make(map[string]string, len(hook.Headers))
		for name, value := range hook.Headers {
			out.Headers[name] = value.Reveal()
		}
	}
	return out
}

// applyWebhook sets what can be set of a webhook.
func applyWebhook(hook *webhook.Webhook, in *posternv1.Webhook) {
	hook.DisplayName, hook.URL = in.GetDisplayName(), in.GetUrl()
	hook.AccountLabels, hook.Folders = in.GetAccountLabels(), in.GetFolders()
	hook.Ordered, hook.MaxConcurrency = in.GetOrdered(), int(in.GetMaxConcurrency())
	hook.Payload = ""
	if in.GetPayload() != posternv1.Webhook_PAYLOAD_UNSPECIFIED {
		hook.Payload = webhook.Payload(in.GetPayload().String())
	}
	hook.Types, hook.Accounts = nil, nil
	for _, t := range in.GetTypes() {
		hook.Types = append(hook.Types, event.Type(t))
	}
	for _, name := range in.GetAccounts() {
		hook.Accounts = append(hook.Accounts, accountID(name))
	}
	hook.Headers = make(map[string]secret.String, len(in.GetHeaders()))
	for name, value := range in.GetHeaders() {
		hook.Headers[name] = secret.New(value)
	}
	if in.GetSecret() != "" {
		hook.Secret = secret.New(in.GetSecret())
	}
}

func deliveryProto(id string, a *webhook.Attempt) *posternv1.Delivery {
	out := &posternv1.Delivery{
		EventId: a.EventID, EventType: string(a.Type), Account: accountOf(a.Account),
		Attempt: int32(a.Number), AttemptTime: timeProto(a.Time), Latency: durationpb.New(a.Latency),
		Outcome:    posternv1.Delivery_Outcome(posternv1.Delivery_Outcome_value[string(a.Outcome)]),
		HttpStatus: int32(a.Status), Error: a.Error, ResponseExcerpt: a.Excerpt, NextAttemptTime: timeProto(a.Next),
	}
	if a.Sequence > 0 {
		out.Name = event.WebhookName(id) + "/deliveries/" + strconv.FormatUint(a.Sequence, 10)
	}
	return out
}

func deadLetterProto(id string, l *webhook.DeadLetter) *posternv1.DeadLetter {
	return &posternv1.DeadLetter{
		Name:    event.WebhookName(id) + "/deadLetters/" + l.EventID,
		EventId: l.EventID, EventType: string(l.Type), Account: accountOf(l.Account),
		Attempts: int32(l.Attempts), Reason: l.Reason, HttpStatus: int32(l.Status), CreateTime: timeProto(l.Time),
	}
}

// accountOf is the name of the account that an event is about, empty for events
// that are about none.
func accountOf(id string) string {
	if id == event.System {
		return ""
	}
	return event.AccountName(id)
}
