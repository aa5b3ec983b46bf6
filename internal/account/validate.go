package account

import (
	"maps"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/invalid"
)

// Bounds of the settings.
const (
	maxDisplayName  = 200
	maxAddress      = 320 // RFC 3696, erratum 1690: 64 + 1 + 255
	maxLogin        = 4096
	maxToken        = 16 << 10 // Microsoft's access tokens take several kilobytes
	maxLabels       = 64
	maxLabelValue   = 256
	maxExcluded     = 1000
	maxIdleFolders  = 10 // each takes a connection
	maxFolderPath   = 1000
	maxScopes       = 32
	minPollInterval = time.Second
	maxPollInterval = 24 * time.Hour
)

var (
	// An id is a token of a NATS subject, of a KV key and of a URL. It begins
	// with a letter or digit, so "-" can mean all accounts.
	idPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	labelPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	hostPattern  = regexp.MustCompile(`^[\pL\pN_]([\pL\pM\pN_-]*[\pL\pM\pN_])?(\.[\pL\pM\pN_]([\pL\pM\pN_-]*[\pL\pM\pN_])?)*\.?$`)
)

// ValidID reports whether id can be the id of an account.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// The usual ports, for endpoints that name none.
var defaultPorts = map[string]map[TLSMode]int{
	"imap": {TLS: 993, STARTTLS: 143, Plaintext: 143},
	"smtp": {TLS: 465, STARTTLS: 587, Plaintext: 587},
}

// Normalize fills in what may be left out: the TLS mode (TLS), the port usual
// for the mode, the user name (the email address) and that nothing is told of
// the mail that is there. An SMTP credential that
// repeats the OAuth 2.0 grant of IMAP is dropped, so that the two share one:
// refreshing one copy of a grant ends the other.
func (a *Account) Normalize() {
	a.IMAP.normalize("imap")
	if a.Backfill == "" {
		a.Backfill = BackfillNone
	}
	if a.IMAP.Username == "" {
		a.IMAP.Username = a.Email
	}
	if a.SMTP == nil {
		return
	}
	a.SMTP.normalize("smtp")
	if a.SMTP.OAuth2 != nil && a.IMAP.OAuth2 != nil && a.SMTP.OAuth2.sameGrant(a.IMAP.OAuth2) {
		a.SMTP.OAuth2 = nil
	}
	if a.smtpSharesLogin() {
		a.SMTP.Username = ""
	} else if a.SMTP.Username == "" {
		a.SMTP.Username = a.Email
	}
}

func (e *Endpoint) normalize(protocol string) {
	if e.TLSMode == "" {
		e.TLSMode = TLS
	}
	if e.Port == 0 {
		e.Port = defaultPorts[protocol][e.TLSMode]
	}
}

// Validate checks the settings of a normalized account that is new and returns a
// [*invalid.Error] that lists all that is wrong. The id may be empty.
func (a *Account) Validate() error { return a.validate(&Account{}) }

// validate checks settings that are to take the place of others.
func (a *Account) validate(before *Account) error {
	var v violations
	v.Check(a.ID == "" || ValidID(a.ID), "id",
		"use letters, digits, - and _, at most 63, beginning with a letter or digit")
	v.Check(utf8.RuneCountInString(a.DisplayName) <= maxDisplayName && printable(a.DisplayName), "display_name",
		"use at most %d characters without control characters", maxDisplayName)
	v.email(a.Email)
	v.endpoint("imap", &a.IMAP)
	v.trust("imap", &a.IMAP, &before.IMAP)
	v.credential("imap", &a.IMAP)
	if a.SMTP != nil {
		v.endpoint("smtp", a.SMTP)
		v.trust("smtp", a.SMTP, before.SMTP)
		if !a.smtpSharesLogin() {
			v.credential("smtp", a.SMTP)
		}
	}
	v.labels(a.Labels)
	v.watch(&a.Watch)
	v.Check(a.Sending.MaxConcurrent >= 0 && a.Sending.MaxConcurrent <= MaxSendingConcurrency, "sending.max_concurrent", "give at most %d", MaxSendingConcurrency)
	v.Check(a.Sending.MaxPerMinute >= 0 && a.Sending.MaxPerMinute <= MaxSendingPerMinute, "sending.max_per_minute", "give at most %d", MaxSendingPerMinute)
	v.Check(a.Backfill == BackfillNone || a.Backfill == BackfillEnvelopes, "backfill", "use NONE or ENVELOPES")
	return v.Err("account")
}

type violations struct{ invalid.Fields }

func (v *violations) email(address string) {
	parsed, err := mail.ParseAddress(address)
	v.Check(err == nil && parsed.Address == address && len(address) <= maxAddress, "email",
		"give a bare address such as ann@example.com")
}

func (v *violations) endpoint(prefix string, e *Endpoint) {
	v.Check(validHost(e.Host), prefix+".host", "give a host name or an IP address, without scheme or port")
	v.Check(e.Port >= 1 && e.Port <= 65535, prefix+".port", "give a port from 1 to 65535")
	v.Check(e.TLSMode == TLS || e.TLSMode == STARTTLS || e.TLSMode == Plaintext, prefix+".tls_mode",
		"give %s, %s or %s", TLS, STARTTLS, Plaintext)
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return !strings.Contains(host, "%") // a zone means something on one machine only
	}
	return len(host) <= 253 && hostPattern.MatchString(host)
}

func (v *violations) credential(prefix string, e *Endpoint) {
	v.Check(e.Username != "" && len(e.Username) <= maxAddress && oneLine(e.Username), prefix+".username",
		"give the user name on one line of at most %d bytes", maxAddress)
	switch {
	case e.OAuth2 != nil:
		v.Check(e.Password.IsZero(), prefix+".password", "give either a password or oauth2, not both")
		v.oauth(prefix+".oauth2", e.OAuth2)
	default:
		password := e.Password.Reveal()
		v.Check(password != "", prefix+".password", "give a password or oauth2")
		v.Check(len(password) <= maxLogin && oneLine(password), prefix+".password",
			"a password is one line of at most %d bytes", maxLogin)
	}
}

func (v *violations) oauth(prefix string, o *OAuth2) {
	access, refresh, clientSecret := o.AccessToken.Reveal(), o.RefreshToken.Reveal(), o.ClientSecret.Reveal()
	v.Check(access != "" || refresh != "", prefix+".refresh_token", "give a refresh token, or at least an access token")
	v.Check(len(access) <= maxToken && oneLine(access), prefix+".access_token", "a token is one line of at most %d bytes", maxToken)
	v.Check(len(refresh) <= maxToken && oneLine(refresh), prefix+".refresh_token", "a token is one line of at most %d bytes", maxToken)
	v.Check(len(clientSecret) <= maxLogin && oneLine(clientSecret), prefix+".client_secret",
		"a client secret is one line of at most %d bytes", maxLogin)
	v.Check(len(o.ClientID) <= 1024 && oneLine(o.ClientID), prefix+".client_id", "a client id is one line of at most 1024 bytes")
	v.Check(len(o.Scopes) <= maxScopes, prefix+".scopes", "give at most %d scopes", maxScopes)
	if refresh == "" {
		return
	}
	v.Check(o.ClientID != "", prefix+".client_id", "give the client id that the refresh token was issued to")
	v.Check(validTokenURL(o.TokenURL), prefix+".token_url", "give the https URL of the provider's token endpoint")
}

// validTokenURL accepts https, and http for a server on the same machine, as
// tests and sandboxes have: a token must not cross a network in clear.
func validTokenURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || len(text) > 2048 {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

func (v *violations) labels(labels map[string]string) {
	v.Check(len(labels) <= maxLabels, "labels", "give at most %d labels", maxLabels)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		v.Check(labelPattern.MatchString(key), "labels", "key %q: use a to z, digits, - and _, at most 63, beginning with a letter", key)
		v.Check(utf8.RuneCountInString(labels[key]) <= maxLabelValue && utf8.ValidString(labels[key]), "labels",
			"value of %q: use at most %d characters", key, maxLabelValue)
	}
}

func (v *violations) watch(w *WatchPolicy) {
	v.Check(w.PollInterval == 0 || w.PollInterval >= minPollInterval && w.PollInterval <= maxPollInterval,
		"watch.poll_interval", "give from %s to %s", minPollInterval, maxPollInterval)
	v.folders("watch.excluded_folders", w.ExcludedFolders, maxExcluded)
	v.folders("watch.idle_folders", w.IdleFolders, maxIdleFolders)
	for _, path := range w.IdleFolders {
		v.Check(!w.Excludes(path), "watch.idle_folders", "%q is excluded: name it in one of the two lists", path)
	}
}

func (v *violations) folders(field string, paths []string, most int) {
	v.Check(len(paths) <= most, field, "name at most %d folders", most)
	for _, path := range paths {
		v.Check(path != "" && len(path) <= maxFolderPath && utf8.ValidString(path), field,
			"a path has from 1 to %d bytes of UTF-8", maxFolderPath)
	}
}

// oneLine reports whether text can go into a protocol line.
func oneLine(text string) bool { return !strings.ContainsAny(text, "\r\n\x00") }

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
