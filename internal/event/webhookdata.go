package event

// System stands in place of an account's id for events that are not about an
// account. No account has it: ids of accounts begin with a letter or digit.
const System = "_"

// WebhookName is the resource name of a webhook.
func WebhookName(webhook string) string { return "webhooks/" + webhook }

// WebhookRef names the webhook that an event is about.
type WebhookRef struct {
	Webhook string `json:"webhook"`
}

func (w WebhookRef) resource(string) string { return w.Webhook }

// WebhookDisabled is the data of webhook.disabled: nothing is sent to the
// webhook any more. Reason is for programs, Detail for people.
type WebhookDisabled struct {
	WebhookRef
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
	// Occasion tells one time that the webhook was disabled from the next.
	Occasion uint64 `json:"-"`
}

// EventType implements [Data].
func (*WebhookDisabled) EventType() Type { return TypeWebhookDisabled }

func (w *WebhookDisabled) addKey(k naturalKey, _ uint64) {
	k.text(w.Webhook)
	k.number(w.Occasion)
}

func (w *WebhookDisabled) bound() { w.Detail, _ = boundText(w.Detail) }

// WebhookTest is the data of webhook.test, which is sent to try a webhook and
// is not in the log.
type WebhookTest struct {
	WebhookRef
	// Nonce tells one test from the next.
	Nonce string `json:"nonce"`
}

// EventType implements [Data].
func (*WebhookTest) EventType() Type { return TypeWebhookTest }

func (w *WebhookTest) addKey(k naturalKey, _ uint64) {
	k.text(w.Webhook)
	k.text(w.Nonce)
}
