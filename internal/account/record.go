package account

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/kvbucket"
	"github.com/postern-mail/postern/internal/secret"
)

// recordVersion is raised when an older Postern would misread a record. Records
// that name trusted certificates have the second: one that does not know of them
// would go by the machine's authorities instead.
const (
	recordVersion      = 1
	recordVersionTrust = 2
)

// record is the stored form of an account. Fields of type secret.Sealed are secrets.
type record struct {
	Version     int               `json:"version"`
	ID          string            `json:"id"`
	DisplayName string            `json:"display_name,omitempty"`
	Email       string            `json:"email"`
	IMAP        endpointRecord    `json:"imap"`
	SMTP        *endpointRecord   `json:"smtp,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Watch       watchRecord       `json:"watch,omitzero"`
	Sending     SendingPolicy     `json:"sending,omitzero"`
	Backfill    Backfill          `json:"backfill,omitempty"`
	Paused      bool              `json:"paused,omitempty"`
	Reconnects  uint64            `json:"reconnects,omitempty"`
	Resyncs     uint64            `json:"resyncs,omitempty"`

	IdentityScheme IdentityScheme `json:"identity_scheme,omitempty"`
	IdentityKey    secret.Sealed  `json:"identity_key,omitempty"`

	CreateTime time.Time `json:"create_time,omitzero"`
	UpdateTime time.Time `json:"update_time,omitzero"`
	// Revision counts the changes of the settings; with CreateTime it makes the
	// etag. The key's own revision will not do, since it also moves when a token
	// is refreshed.
	Revision   uint64 `json:"revision,omitempty"`
	Connection string `json:"connection,omitempty"`
	// Request is the key of the request that created the account.
	Request string `json:"request,omitempty"`
}

type endpointRecord struct {
	Host     string        `json:"host"`
	Port     int           `json:"port"`
	TLSMode  TLSMode       `json:"tls_mode"`
	Username string        `json:"username,omitempty"`
	Password secret.Sealed `json:"password,omitempty"`
	OAuth2   *oauthRecord  `json:"oauth2,omitempty"`
	Trust    *trustRecord  `json:"trust,omitempty"`
}

type trustRecord struct {
	Authorities string   `json:"authorities,omitempty"`
	Pins        []string `json:"pins,omitempty"`
}

type oauthRecord struct {
	AccessToken  secret.Sealed `json:"access_token,omitempty"`
	RefreshToken secret.Sealed `json:"refresh_token,omitempty"`
	Expiry       time.Time     `json:"expiry,omitzero"`
	ClientID     string        `json:"client_id,omitempty"`
	ClientSecret secret.Sealed `json:"client_secret,omitempty"`
	TokenURL     string        `json:"token_url,omitempty"`
	Scopes       []string      `json:"scopes,omitempty"`
}

type watchRecord struct {
	PollInterval    time.Duration `json:"poll_interval,omitempty"`
	ExcludedFolders []string      `json:"excluded_folders,omitempty"`
	IdleFolders     []string      `json:"idle_folders,omitempty"`
}

// newSealer seals or opens the secrets of the account with the given id.
func newSealer(box *secret.Box, id string) *secret.Sealer {
	return &secret.Sealer{Box: box, Record: "account/" + id}
}

// encode gives the stored form of an account.
func encode(box *secret.Box, a *Account, revision uint64, request string) ([]byte, error) {
	s := newSealer(box, a.ID)
	rec := newRecord(a, s.Seal)
	if s.Err != nil {
		return nil, s.Err
	}
	rec.Revision, rec.Request = revision, request
	return json.Marshal(rec)
}

// newRecord puts an account into the stored form, its secrets as seal has them.
func newRecord(a *Account, seal func(field string, value secret.String) secret.Sealed) *record {
	rec := &record{
		Version: recordVersion, ID: a.ID, DisplayName: a.DisplayName, Email: a.Email,
		IMAP: newEndpointRecord("imap", a.IMAP, seal), Labels: a.Labels, Watch: watchRecord(a.Watch), Sending: a.Sending,
		Backfill: a.Backfill, Paused: a.Paused, Reconnects: a.Reconnects, Resyncs: a.Resyncs,
		IdentityScheme: a.IdentityScheme, IdentityKey: seal("identity_key", a.IdentityKey),
		CreateTime: a.CreateTime, UpdateTime: a.UpdateTime, Connection: a.ConnectionRevision,
	}
	if a.SMTP != nil {
		smtp := newEndpointRecord("smtp", *a.SMTP, seal)
		rec.SMTP = &smtp
	}
	if rec.IMAP.Trust != nil || rec.SMTP != nil && rec.SMTP.Trust != nil {
		rec.Version = recordVersionTrust
	}
	return rec
}

func newEndpointRecord(prefix string, e Endpoint, seal func(string, secret.String) secret.Sealed) endpointRecord {
	rec := endpointRecord{
		Host: e.Host, Port: e.Port, TLSMode: e.TLSMode, Username: e.Username,
		Password: seal(prefix+".password", e.Password),
	}
	if o := e.OAuth2; o != nil {
		rec.OAuth2 = &oauthRecord{
			AccessToken: seal(prefix+".access_token", o.AccessToken), RefreshToken: seal(prefix+".refresh_token", o.RefreshToken),
			Expiry: o.Expiry.UTC(), ClientID: o.ClientID, ClientSecret: seal(prefix+".client_secret", o.ClientSecret),
			TokenURL: o.TokenURL, Scopes: o.Scopes,
		}
	}
	if !e.Trust.IsZero() {
		trust := trustRecord(e.Trust)
		rec.Trust = &trust
	}
	return rec
}

// stored is an account with what only the registry needs of its record.
type stored struct {
	account  *Account
	revision uint64 // of the settings
	request  string
}

// decode reads the stored form of the account with the given id.
func decode(box *secret.Box, id string, value []byte) (*stored, error) {
	var rec record
	if err := json.Unmarshal(value, &rec); err != nil {
		// The parser's error may quote the record; only its kind matters.
		return nil, fmt.Errorf("account %s: %w: damaged", id, ErrUnreadable)
	}
	if rec.Version < recordVersion || rec.Version > recordVersionTrust {
		return nil, fmt.Errorf("account %s: %w: its version is %d, and this Postern reads up to %d",
			id, ErrUnreadable, rec.Version, recordVersionTrust)
	}
	// The id of the key decides, so a record copied under another key does not
	// open.
	s := newSealer(box, id)
	a := &Account{
		ID: id, DisplayName: rec.DisplayName, Email: rec.Email, IMAP: openEndpoint(s, "imap", &rec.IMAP),
		Labels: rec.Labels, Watch: WatchPolicy(rec.Watch), Sending: rec.Sending,
		Backfill: rec.Backfill, Paused: rec.Paused, Reconnects: rec.Reconnects, Resyncs: rec.Resyncs,
		IdentityScheme: rec.IdentityScheme, IdentityKey: s.Open("identity_key", rec.IdentityKey),
		CreateTime: rec.CreateTime, UpdateTime: rec.UpdateTime, ConnectionRevision: rec.Connection,
		Etag: rec.etag(),
	}
	if a.Backfill == "" { // written before there was a choice
		a.Backfill = BackfillNone
	}
	if rec.SMTP != nil {
		smtp := openEndpoint(s, "smtp", rec.SMTP)
		a.SMTP = &smtp
	}
	if s.Err != nil {
		return nil, fmt.Errorf("account %s: %w: %w", id, ErrUnreadable, s.Err)
	}
	return &stored{account: a, revision: rec.Revision, request: rec.Request}, nil
}

func openEndpoint(s *secret.Sealer, prefix string, rec *endpointRecord) Endpoint {
	e := Endpoint{
		Host: rec.Host, Port: rec.Port, TLSMode: rec.TLSMode, Username: rec.Username,
		Password: s.Open(prefix+".password", rec.Password),
	}
	if o := rec.OAuth2; o != nil {
		e.OAuth2 = &OAuth2{
			AccessToken: s.Open(prefix+".access_token", o.AccessToken), RefreshToken: s.Open(prefix+".refresh_token", o.RefreshToken),
			Expiry: o.Expiry, ClientID: o.ClientID, ClientSecret: s.Open(prefix+".client_secret", o.ClientSecret),
			TokenURL: o.TokenURL, Scopes: o.Scopes,
		}
	}
	if rec.Trust != nil {
		e.Trust = Trust(*rec.Trust)
	}
	return e
}

func (rec *record) etag() string {
	return kvbucket.Etag(rec.CreateTime, rec.Revision)
}
