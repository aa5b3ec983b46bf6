package webhook

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// recordVersion is raised when an older Postern would misread a record.
const recordVersion = 1

// record is the stored form of a webhook. Fields of type secret.Sealed are secrets.
type record struct {
	Version        int                      `json:"version"`
	ID             string                   `json:"id"`
	DisplayName    string                   `json:"display_name,omitempty"`
	URL            secret.Sealed            `json:"url"`
	Types          []event.Type             `json:"types,omitempty"`
	Accounts       []string                 `json:"accounts,omitempty"`
	AccountLabels  map[string]string        `json:"account_labels,omitempty"`
	Folders        []string                 `json:"folders,omitempty"`
	Payload        Payload                  `json:"payload"`
	Ordered        bool                     `json:"ordered,omitempty"`
	MaxConcurrency int                      `json:"max_concurrency,omitempty"`
	Headers        map[string]secret.Sealed `json:"headers,omitempty"`
	Signing        secret.Sealed            `json:"signing"`
	Previous       secret.Sealed            `json:"previous,omitempty"`
	PreviousExpiry time.Time                `json:"previous_expiry,omitzero"`
	Disabled       Reason                   `json:"disabled,omitempty"`
	DisableTime    time.Time                `json:"disable_time,omitzero"`
	LastError      string                   `json:"last_error,omitempty"`
	Occasion       uint64                   `json:"occasion,omitempty"`
	Untold         bool                     `json:"untold,omitempty"`
	Generation     uint64                   `json:"generation,omitempty"`
	After          string                   `json:"after,omitempty"` // a cursor of the log
	Since          time.Time                `json:"since,omitzero"`
	CreateTime     time.Time                `json:"create_time,omitzero"`
	UpdateTime     time.Time                `json:"update_time,omitzero"`
	// Revision counts the changes; with CreateTime it makes the etag.
	Revision uint64 `json:"revision,omitempty"`
	// Request is the key of the request that created the webhook.
	Request string `json:"request,omitempty"`
}

// newSealer seals or opens the secrets of the webhook with the given id.
func newSealer(box *secret.Box, id string) *secret.Sealer {
	return &secret.Sealer{Box: box, Record: "webhook/" + id}
}

// newRecord puts a webhook into the stored form, its secrets as seal has them.
// The URL is one of them: many services put a token into it.
func newRecord(w *Webhook, seal func(field string, value secret.String) secret.Sealed) *record {
	rec := &record{
		Version: recordVersion, ID: w.ID, DisplayName: w.DisplayName, URL: seal("url", secret.New(w.URL)),
		Types: w.Types, Accounts: w.Accounts, AccountLabels: w.AccountLabels, Folders: w.Folders,
		Payload: w.Payload, Ordered: w.Ordered, MaxConcurrency: w.MaxConcurrency,
		Signing: seal("secret", w.Secret), Previous: seal("previous_secret", w.PreviousSecret), PreviousExpiry: w.PreviousExpiry,
		Disabled: w.Disabled, DisableTime: w.DisableTime, LastError: w.LastError, Occasion: w.occasion, Untold: w.untold,
		Generation: w.begin.generation, After: w.begin.place.After.String(), Since: w.begin.place.Since,
		CreateTime: w.CreateTime, UpdateTime: w.UpdateTime,
	}
	if len(w.Headers) > 0 {
		rec.Headers = make(map[string]secret.Sealed, len(w.Headers))
		for name, value := range w.Headers {
			rec.Headers[name] = seal("headers."+name, value)
		}
	}
	return rec
}

// encode gives the stored form of a webhook.
func encode(box *secret.Box, w *Webhook, revision uint64, request string) ([]byte, error) {
	s := newSealer(box, w.ID)
	rec := newRecord(w, s.Seal)
	if s.Err != nil {
		return nil, s.Err
	}
	rec.Revision, rec.Request = revision, request
	return json.Marshal(rec)
}

// stored is a webhook with what only the registry needs of its record.
type stored struct {
	*Webhook
	revision   uint64 // of the settings
	kvRevision uint64 // of the key
	request    string
}

// decode reads the stored form of the webhook with the given id.
func decode(box *secret.Box, id string, value []byte, kvRevision uint64) (*stored, error) {
	var rec record
	if err := json.Unmarshal(value, &rec); err != nil {
		return nil, fmt.Errorf("webhook %s: %w: damaged", id, ErrUnreadable)
	}
	if rec.Version != recordVersion {
		return nil, fmt.Errorf("webhook %s: %w: its version is %d, and this Postern reads %d",
			id, ErrUnreadable, rec.Version, recordVersion)
	}
	after, err := eventlog.ParseCursor(rec.After)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w: %w", id, ErrUnreadable, err)
	}
	s := newSealer(box, id)
	w := &Webhook{
		ID: id, DisplayName: rec.DisplayName, URL: s.Open("url", rec.URL).Reveal(),
		Types: rec.Types, Accounts: rec.Accounts, AccountLabels: rec.AccountLabels, Folders: rec.Folders,
		Payload: rec.Payload, Ordered: rec.Ordered, MaxConcurrency: rec.MaxConcurrency,
		Secret: s.Open("secret", rec.Signing), PreviousSecret: s.Open("previous_secret", rec.Previous), PreviousExpiry: rec.PreviousExpiry,
		Disabled: rec.Disabled, DisableTime: rec.DisableTime, LastError: rec.LastError, occasion: rec.Occasion, untold: rec.Untold,
		begin:      begin{generation: rec.Generation, place: eventlog.Place{After: after, Since: rec.Since}},
		CreateTime: rec.CreateTime, UpdateTime: rec.UpdateTime,
		Etag: kvbucket.Etag(rec.CreateTime, rec.Revision),
	}
	if len(rec.Headers) > 0 {
		w.Headers = make(map[string]secret.String, len(rec.Headers))
		for name, value := range rec.Headers {
			w.Headers[name] = s.Open("headers."+name, value)
		}
	}
	if s.Err != nil {
		return nil, fmt.Errorf("webhook %s: %w: %w", id, ErrUnreadable, s.Err)
	}
	return &stored{Webhook: w, revision: rec.Revision, kvRevision: kvRevision, request: rec.Request}, nil
}
