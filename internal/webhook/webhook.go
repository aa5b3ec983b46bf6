// Package webhook sends events to addresses that users choose, each as a signed
// POST request in the form of Standard Webhooks, until they are taken.
//
// All of it lives in NATS:
//
//	KV postern_webhooks      the settings, with secrets sealed, and how each fares
//	a durable reader of the event log for each webhook
//	POSTERN_WEBHOOK_RETRY    events that were not taken and wait for their time
//	POSTERN_WEBHOOK_DLQ      events that were given up
//	POSTERN_WEBHOOK_LOG      the latest attempts
//
// So any node delivers to any webhook, each event is with one node at a time,
// and a node that dies leaves nothing behind that another one would not find.
package webhook

import (
	"maps"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/secret"
)

// Webhook is an address that events are sent to, and which of them.
type Webhook struct {
	ID          string
	DisplayName string
	URL         string

	// Types, Accounts, AccountLabels and Folders choose the events; what is
	// empty does not restrict them. Accounts are ids, Folders resource names.
	Types         []event.Type
	Accounts      []string
	AccountLabels map[string]string
	Folders       []string

	Payload Payload
	// Ordered sends one event at a time, in the order of the log.
	Ordered bool
	// MaxConcurrency is how many requests may be under way at a time; 0 means
	// [DefaultConcurrency].
	MaxConcurrency int
	Headers        map[string]secret.String

	Secret secret.String
	// PreviousSecret signs as well until PreviousExpiry.
	PreviousSecret secret.String
	PreviousExpiry time.Time

	// Disabled says why nothing is sent; empty means that the webhook is enabled.
	Disabled    Reason
	DisableTime time.Time
	LastError   string
	// occasion counts how often the webhook was disabled; untold says that the
	// event of the last time may not be in the log yet.
	occasion uint64
	untold   bool

	begin begin

	CreateTime time.Time
	UpdateTime time.Time
	// Etag stands for the webhook as it is.
	Etag string

	// FailingSince is joined in when the webhook is read: since when no request
	// has succeeded.
	FailingSince time.Time
}

// DefaultConcurrency is how many requests to one endpoint may be under way.
const DefaultConcurrency = 8

// Payload says how much of an event is sent.
type Payload string

// The payloads, as the API has them.
const (
	Thin     Payload = "THIN"     // names only
	Envelope Payload = "ENVELOPE" // the event as it is in the log
	FullBody Payload = "BODY"     // with the text and HTML of a new message
)

// Reason is why a webhook is disabled.
type Reason string

// The reasons, as the API has them.
const (
	Requested Reason = "REQUESTED" // somebody asked for it
	Gone      Reason = "GONE"      // the endpoint answered 410
	Failing   Reason = "FAILING"   // it took nothing for too long
)

// begin is where in the log a webhook's events begin. Each replay makes another
// one, under a durable reader of its own.
type begin struct {
	generation uint64
	place      eventlog.Place
}

// Clone makes a copy that shares nothing that can change.
func (w *Webhook) Clone() *Webhook {
	c := *w
	c.Types, c.Accounts, c.Folders = slices.Clone(w.Types), slices.Clone(w.Accounts), slices.Clone(w.Folders)
	c.AccountLabels, c.Headers = maps.Clone(w.AccountLabels), maps.Clone(w.Headers)
	return &c
}

// concurrency is how many requests may be under way at a time.
func (w *Webhook) concurrency() int {
	switch {
	case w.Ordered:
		return 1
	case w.MaxConcurrency == 0:
		return DefaultConcurrency
	}
	return w.MaxConcurrency
}

// secrets are those to sign with, the present one first.
func (w *Webhook) secrets(now time.Time) []secret.String {
	if w.PreviousSecret.IsZero() || !now.Before(w.PreviousExpiry) {
		return []secret.String{w.Secret}
	}
	return []secret.String{w.Secret, w.PreviousSecret}
}
