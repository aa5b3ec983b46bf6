package webhook

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/eventlog"
	"github.com/postern-mail/postern/internal/secret"
)

// recordVersion is raised when an older Postern would misread a record.
const recordVersion = 1

// record is the stored form of a webhook. Fields of type sealed are secrets.
type record struct {
	Version        int               `json:"version"`
	ID             string            `json:"id"`
	DisplayName    string            `json:"display_name,omitempty"`
	URL            sealed            `json:"url"`
	Types          []event.Type      `json:"types,omitempty"`
	Accounts       []string          `json:"accounts,omitempty"`
	AccountLabels  map[string]string `json:"account_labels,omitempty"`
	Folders        []string          `json:"folders,omitempty"`
	Payload        Payload           `json:"payload"`
	Ordered        bool              `json:"ordered,omitempty"`
	MaxConcurrency int               `json:"max_concurrency,omitempty"`
	Headers        map[string]sealed `json:"headers,omitempty"`
	Signing        sealed            `json:"signing"`
	Previous       sealed            `json:"previous,omitempty"`
	PreviousExpiry time.Time         `json:"previous_expiry,omitzero"`
	Disabled       Reason            `json:"disabled,omitempty"`
	DisableTime    time.Time         `json:"disable_time,omitzero"`
	LastError      string            `json:"last_error,omitempty"`
	Occasion       uint64            `json:"occasion,omitempty"`
	Untold         bool              `json:"untold,omitempty"`
	Generation     uint64            `json:"generation,omitempty"`
	After          string            `json:"after,omitempty"` // a cursor of the log
	Since          time.Time         `json:"since,omitzero"`
	CreateTime     time.Time         `json:"create_time,omitzero"`
	UpdateTime     time.Time         `json:"update_time,omitzero"`
	// Revision counts the changes; with CreateTime it makes the etag.
	Revision uint64 `json:"revision,omitempty"`
	// Request is the hash of the request id that created the webhook.
	Request string `json:"request,omitempty"`
}

// sealed is a secret as it leaves the process; JSON writes it in base64.
type sealed []byte

// sealer seals or opens the secrets of one record and keeps the first error.
// The place of each names the webhook and the field, so a sealed value that is
// moved elsewhere does not open.
type sealer struct {
	box *secret.Box
	id  string
	err error
}

func (s *sealer) place(field string) []byte { return []byte("webhook/" + s.id + "/" + field) }

func (s *sealer) seal(field string, value secret.String) sealed {
	if s.err != nil || value.IsZero() {
		return nil
	}
	out, err := s.box.Seal([]byte(value.Reveal()), s.place(field))
	s.err = err
	return out
}

func (s *sealer) open(field string, value sealed) secret.String {
	if s.err != nil || len(value) == 0 {
		return secret.String{}
	}
	plain, err := s.box.Open(value, s.place(field))
	s.err = err
	return secret.New(string(plain))
}

// newRecord puts a webhook into the stored form, its secrets as seal has them.
// The URL is one of them: many services put a token into it.
func newRecord(w *Webhook, seal func(field string, value secret.String) sealed) *record {
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
		rec.Headers = make(map[string]sealed, len(w.Headers))
		for name, value := range w.Headers {
			rec.Headers[name] = seal("headers."+name, value)
		}
	}
	return rec
}

// encode gives the stored form of a webhook.
func (r *registry) encode(w *Webhook, revision uint64, request string) ([]byte, error) {
	s := &sealer{box: r.box, id: w.ID}
	rec := newRecord(w, s.seal)
	if s.err != nil {
		return nil, s.err
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
func (r *registry) decode(id string, value []byte, kvRevision uint64) (*stored, error) {
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
	s := &sealer{box: r.box, id: id}
	w := &Webhook{
		ID: id, DisplayName: rec.DisplayName, URL: s.open("url", rec.URL).Reveal(),
		Types: rec.Types, Accounts: rec.Accounts, AccountLabels: rec.AccountLabels, Folders: rec.Folders,
		Payload: rec.Payload, Ordered: rec.Ordered, MaxConcurrency: rec.MaxConcurrency,
		Secret: s.open("secret", rec.Signing), PreviousSecret: s.open("previous_secret", rec.Previous), PreviousExpiry: rec.PreviousExpiry,
		Disabled: rec.Disabled, DisableTime: rec.DisableTime, LastError: rec.LastError, occasion: rec.Occasion, untold: rec.Untold,
		begin:      begin{generation: rec.Generation, place: eventlog.Place{After: after, Since: rec.Since}},
		CreateTime: rec.CreateTime, UpdateTime: rec.UpdateTime,
		Etag: strconv.FormatInt(rec.CreateTime.UnixMicro(), 36) + "-" + strconv.FormatUint(rec.Revision, 36),
	}
	if len(rec.Headers) > 0 {
		w.Headers = make(map[string]secret.String, len(rec.Headers))
		for name, value := range rec.Headers {
			w.Headers[name] = s.open("headers."+name, value)
		}
	}
	if s.err != nil {
		return nil, fmt.Errorf("webhook %s: %w: %w", id, ErrUnreadable, s.err)
	}
	return &stored{Webhook: w, revision: rec.Revision, kvRevision: kvRevision, request: rec.Request}, nil
}
