// Package account keeps the registered mailboxes: where their servers are, the
// sealed credentials to log in with, how the connection to each is, and the
// pools of connections that requests use.
//
// All of it lives in the KV bucket postern_accounts, under these keys:
//
//	account.<id>    the settings, with every secret sealed under its own place
//	status.<id>     what the owner of the watching connection last said
//	request.<hash>  which account a request id has created, for 24 hours
//	refresh.<id>.*  that a node is fetching a new access token, while it does
//	check           a sealed value by which a wrong key is noticed
package account

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/secret"
)

// Account is one registered mailbox. The registry hands out copies, which their
// holder may change; to keep a change, use [Registry.Update].
type Account struct {
	ID          string
	DisplayName string
	Email       string
	IMAP        Endpoint
	// SMTP is nil for an account that cannot send. Without a credential of its
	// own it uses that of IMAP, see SMTPLogin.
	SMTP   *Endpoint
	Labels map[string]string
	Watch  WatchPolicy
	// Sending says how much is sent at a time.
	Sending SendingPolicy
	// Backfill says what is told of the mail that is there at first. It cannot be
	// changed.
	Backfill Backfill
	// Paused accounts are not watched. They can be read all the same.
	Paused bool
	// Reconnects and Resyncs count how often somebody asked for new connections
	// and for a comparison of everything. Their change is what asks.
	Reconnects, Resyncs uint64

	// IdentityScheme is how the email_id of a message is found, empty until the
	// first connection has pinned it.
	IdentityScheme IdentityScheme
	// IdentityKey holds 32 random bytes for the fingerprint scheme. It is made
	// with the account and never changes.
	IdentityKey secret.String

	CreateTime time.Time
	UpdateTime time.Time
	// Etag stands for the settings as they are. Neither a change of status nor
	// a refreshed token changes it.
	Etag string
	// ConnectionRevision changes whenever the IMAP settings do, so that
	// whoever holds a connection knows that it is out of date. A refreshed
	// token does not change it. It is opaque and never comes back.
	ConnectionRevision string

	// Status is joined in when the account is read.
	Status Status
}

// TLSMode says how a connection to a server is protected.
type TLSMode string

// The modes, as the API has them.
const (
	TLS       TLSMode = "TLS"       // from the first byte (RFC 8314)
	STARTTLS  TLSMode = "STARTTLS"  // by command, and no login without it
	Plaintext TLSMode = "PLAINTEXT" // the password crosses the network in clear
)

// Endpoint is a server and how to log in to it: with a password or with OAuth 2.0.
type Endpoint struct {
	Host     string
	Port     int
	TLSMode  TLSMode
	Username string
	Password secret.String
	OAuth2   *OAuth2
	// Trust says by what the server is recognised.
	Trust Trust
}

// OAuth2 holds tokens and what it takes to refresh them.
type OAuth2 struct {
	AccessToken  secret.String
	RefreshToken secret.String
	// Expiry is the end of AccessToken; zero means that it is not known.
	Expiry       time.Time
	ClientID     string
	ClientSecret secret.String
	TokenURL     string
	Scopes       []string
}

// WatchPolicy says how a mailbox is watched. Folders are named by their path,
// decoded, its segments joined by "/".
type WatchPolicy struct {
	// PollInterval is how often folders without push are looked at; 0 leaves it
	// to the gateway's setting.
	PollInterval time.Duration
	// ExcludedFolders and all below them are not watched.
	ExcludedFolders []string
	// IdleFolders, beside INBOX, are watched by IDLE on connections of their own,
	// unless the server tells of all folders on one.
	IdleFolders []string
}

// SendingPolicy says how much is sent through the SMTP server at a time.
type SendingPolicy struct {
	// MaxConcurrent is how many messages are sent at a time, 0 for the default.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
	// MaxPerMinute is how many are sent within any minute, 0 for no bound.
	MaxPerMinute int `json:"max_per_minute,omitempty"`
}

// Bounds of a SendingPolicy.
const (
	MaxSendingConcurrency = 20
	MaxSendingPerMinute   = 10_000
)

// Backfill says what is told of the mail that was there before the account.
type Backfill string

// What may be told, as the API has it.
const (
	BackfillNone      Backfill = "NONE"
	BackfillEnvelopes Backfill = "ENVELOPES"
)

// IdentityScheme is a way to tell that two messages are the same mail.
type IdentityScheme string

// The schemes, the best first.
const (
	IdentityEmailID     IdentityScheme = "EMAILID"     // OBJECTID (RFC 8474)
	IdentityGmail       IdentityScheme = "X-GM-MSGID"  // Gmail's own
	IdentityFingerprint IdentityScheme = "FINGERPRINT" // keyed hash of the headers
)

// SMTPLogin gives the SMTP endpoint with the credential that it is to be used
// with, and false for an account that cannot send.
func (a *Account) SMTPLogin() (Endpoint, bool) {
	if a.SMTP == nil {
		return Endpoint{}, false
	}
	endpoint := *a.SMTP
	if a.smtpSharesLogin() {
		endpoint.Username, endpoint.Password, endpoint.OAuth2 = a.IMAP.Username, a.IMAP.Password, a.IMAP.OAuth2
	}
	return endpoint, true
}

// smtpSharesLogin reports whether SMTP uses the credential of IMAP.
func (a *Account) smtpSharesLogin() bool {
	return a.SMTP != nil && a.SMTP.OAuth2 == nil && a.SMTP.Password.IsZero()
}

// Clone makes a copy that shares nothing that can change.
func (a *Account) Clone() *Account {
	c := *a
	c.IMAP = a.IMAP.clone()
	if a.SMTP != nil {
		smtp := a.SMTP.clone()
		c.SMTP = &smtp
	}
	c.Labels = maps.Clone(a.Labels)
	c.Watch.ExcludedFolders = slices.Clone(a.Watch.ExcludedFolders)
	c.Watch.IdleFolders = slices.Clone(a.Watch.IdleFolders)
	c.Status.Capabilities = slices.Clone(a.Status.Capabilities)
	return &c
}

func (e Endpoint) clone() Endpoint {
	e.Trust.Pins = slices.Clone(e.Trust.Pins)
	if e.OAuth2 != nil {
		oauth := *e.OAuth2
		oauth.Scopes = slices.Clone(oauth.Scopes)
		e.OAuth2 = &oauth
	}
	return e
}

// Equal reports whether two endpoints are the same, tokens included. Nil equals
// nil.
func (e *Endpoint) Equal(other *Endpoint) bool {
	if e == nil || other == nil {
		return e == other
	}
	return e.sameConnection(*other)
}

// sameConnection reports whether a connection made with one endpoint serves for
// the other as well.
func (e Endpoint) sameConnection(other Endpoint) bool {
	return e.Host == other.Host && e.Port == other.Port && e.TLSMode == other.TLSMode &&
		e.Username == other.Username && e.Password.Equal(other.Password) && e.OAuth2.equal(other.OAuth2) &&
		e.Trust.equal(&other.Trust)
}

// SameLogin reports whether two endpoints are the same server with the same login,
// whatever access token is good at present.
func (e Endpoint) SameLogin(other Endpoint) bool {
	if (e.OAuth2 == nil) != (other.OAuth2 == nil) || e.OAuth2 != nil && !e.OAuth2.sameGrant(other.OAuth2) {
		return false
	}
	e.OAuth2, other.OAuth2 = nil, nil
	return e.sameConnection(other)
}

func (o *OAuth2) equal(other *OAuth2) bool {
	if o == nil || other == nil {
		return o == other
	}
	return o.AccessToken.Equal(other.AccessToken) && o.Expiry.Equal(other.Expiry) && o.sameGrant(other)
}

// sameGrant reports whether two refer to the same grant of the same client, so
// that a refresh through one ends the refresh token of the other.
func (o *OAuth2) sameGrant(other *OAuth2) bool {
	return o.RefreshToken.Equal(other.RefreshToken) && o.ClientID == other.ClientID &&
		o.ClientSecret.Equal(other.ClientSecret) && o.TokenURL == other.TokenURL && slices.Equal(o.Scopes, other.Scopes)
}

// Excludes reports whether the folder of a path, or one above it, is not watched.
func (p WatchPolicy) Excludes(path string) bool {
	return slices.ContainsFunc(p.ExcludedFolders, func(excluded string) bool {
		return path == excluded || strings.HasPrefix(path, excluded+"/")
	})
}

// Equal reports whether two policies are the same.
func (p WatchPolicy) Equal(other WatchPolicy) bool {
	return p.PollInterval == other.PollInterval && slices.Equal(p.ExcludedFolders, other.ExcludedFolders) &&
		slices.Equal(p.IdleFolders, other.IdleFolders)
}
