package account

import (
	"slices"

	"github.com/postern-mail/postern/internal/secret"
)

// destination is who gets to see a secret: a mail server, or an OAuth 2.0 provider.
type destination struct {
	server   Endpoint // without the login
	tokenURL string
}

// within reports whether whoever passes for the destination has passed for an earlier
// one before.
func (d destination) within(earlier destination) bool {
	trust := earlier.server.Trust
	earlier.server.Trust = d.server.Trust
	return d.tokenURL == earlier.tokenURL && d.server.sameConnection(earlier.server) && d.server.Trust.within(&trust)
}

// server is what a connection is made to, whoever logs in.
func (e Endpoint) server() destination {
	e.Username, e.Password, e.OAuth2 = "", secret.String{}, nil
	return destination{server: e}
}

// entrusted tells to whom each secret of the account is sent, by the secret's field
// in the API.
func (a *Account) entrusted() map[string][]destination {
	sent := make(map[string][]destination)
	login := func(prefix string, e *Endpoint, servers ...destination) {
		if !e.Password.IsZero() {
			sent[prefix+".password"] = servers
		}
		o := e.OAuth2
		if o == nil {
			return
		}
		provider := destination{tokenURL: o.TokenURL}
		if !o.AccessToken.IsZero() {
			sent[prefix+".oauth2.access_token"] = servers
		}
		if !o.RefreshToken.IsZero() {
			// What it is exchanged for goes to the servers.
			sent[prefix+".oauth2.refresh_token"] = append(slices.Clip(servers), provider)
		}
		if !o.ClientSecret.IsZero() {
			sent[prefix+".oauth2.client_secret"] = []destination{provider}
		}
	}
	switch {
	case a.SMTP == nil:
		login("imap", &a.IMAP, a.IMAP.server())
	case a.smtpSharesLogin():
		login("imap", &a.IMAP, a.IMAP.server(), a.SMTP.server())
	default:
		login("imap", &a.IMAP, a.IMAP.server())
		login("smtp", a.SMTP, a.SMTP.server())
	}
	return sent
}

// Redirected lists the secrets that a change of a normalized account leaves as they
// are and sends to somebody who has not got them before: whoever may change where
// the servers are would otherwise get passwords that nobody gave them. given tells
// which fields the change gives.
func Redirected(before, after *Account, given func(field string) bool) []string {
	earlier := before.entrusted()
	var fields []string
	for field, destinations := range after.entrusted() {
		fresh := func(d destination) bool { return !slices.ContainsFunc(earlier[field], d.within) }
		if !given(field) && slices.ContainsFunc(destinations, fresh) {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return fields
}
