package account_test

import (
	"slices"
	"testing"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/secret"
)

// Whoever may change an account's servers must not get its credentials by it.
func TestRedirected(t *testing.T) {
	t.Parallel()
	oauth := func() *account.OAuth2 {
		return &account.OAuth2{
			AccessToken: secret.New("access"), RefreshToken: secret.New("refresh"), ClientID: "c", ClientSecret: secret.New("client"),
			TokenURL: "https://login.example.com/token",
		}
	}
	sent := func(host string) *account.Endpoint { return &account.Endpoint{Host: host, Port: 465} }
	type change = func(*account.Account)
	all := []string{"imap.oauth2.access_token", "imap.oauth2.refresh_token"}
	cases := map[string]struct {
		before, change change
		given          []string
		want           []string
	}{
		"nothing":          {nil, func(*account.Account) {}, nil, nil},
		"a name":           {nil, func(a *account.Account) { a.DisplayName, a.Email = "x", "x@example.com" }, nil, nil},
		"the login":        {nil, func(a *account.Account) { a.IMAP.Username = "root" }, nil, nil},
		"the host":         {nil, func(a *account.Account) { a.IMAP.Host = "evil.example.com" }, nil, []string{"imap.password"}},
		"the port":         {nil, func(a *account.Account) { a.IMAP.Port = 9993 }, nil, []string{"imap.password"}},
		"whom to trust":    {nil, func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x"} }, nil, []string{"imap.password"}},
		"and the password": {nil, func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x"} }, []string{"imap.password"}, nil},
		"another authority": {func(a *account.Account) { a.IMAP.Trust.Authorities = "x" },
			func(a *account.Account) { a.IMAP.Trust.Authorities = "y" }, nil, []string{"imap.password"}},
		"no authority": {func(a *account.Account) { a.IMAP.Trust.Authorities = "x" },
			func(a *account.Account) { a.IMAP.Trust.Authorities = "" }, nil, []string{"imap.password"}},
		"an authority's server by its key": {func(a *account.Account) { a.IMAP.Trust.Authorities = "x" },
			func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x"} }, nil, nil},
		"one more key": {func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x"} },
			func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x", "y"} }, nil, []string{"imap.password"}},
		"one key less": {func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x", "y"} },
			func(a *account.Account) { a.IMAP.Trust.Pins = []string{"y"} }, nil, nil},
		"no key": {func(a *account.Account) { a.IMAP.Trust.Pins = []string{"x"} },
			func(a *account.Account) { a.IMAP.Trust.Pins = nil }, nil, []string{"imap.password"}},
		"the TLS mode": {nil, func(a *account.Account) { a.IMAP.TLSMode = account.Plaintext }, nil, []string{"imap.password"}},
		"the host and the password": {nil, func(a *account.Account) { a.IMAP.Host = "evil.example.com" }, []string{"imap.password"},
			nil},
		"a server to send by, which shares the login": {nil, func(a *account.Account) { a.SMTP = sent("evil.example.com") }, nil,
			[]string{"imap.password"}},
		"one with a password of its own": {nil, func(a *account.Account) {
			a.SMTP = sent("evil.example.com")
			a.SMTP.Password = secret.New("given")
		}, []string{"smtp.password"}, nil},
		"that server's host": {func(a *account.Account) { a.SMTP = sent("smtp.example.com") },
			func(a *account.Account) { a.SMTP.Host = "evil.example.com" }, nil, []string{"imap.password"}},
		"that server is gone": {func(a *account.Account) { a.SMTP = sent("smtp.example.com") },
			func(a *account.Account) { a.SMTP = nil }, nil, nil},
		"that server's own password": {func(a *account.Account) {
			a.SMTP = sent("smtp.example.com")
			a.SMTP.Password = secret.New("own")
		}, func(a *account.Account) { a.SMTP.Host = "evil.example.com" }, nil, []string{"smtp.password"}},
		"its own password is gone, so that it shares the other": {func(a *account.Account) {
			a.SMTP = sent("evil.example.com")
			a.SMTP.Password = secret.New("own")
		}, func(a *account.Account) { a.SMTP.Password = secret.String{} }, []string{"smtp.password"}, []string{"imap.password"}},
		"the token URL": {func(a *account.Account) { a.IMAP.Password, a.IMAP.OAuth2 = secret.String{}, oauth() },
			func(a *account.Account) { a.IMAP.OAuth2.TokenURL = "https://evil.example.com/" }, nil,
			[]string{"imap.oauth2.client_secret", "imap.oauth2.refresh_token"}},
		"the host, with OAuth": {func(a *account.Account) { a.IMAP.Password, a.IMAP.OAuth2 = secret.String{}, oauth() },
			func(a *account.Account) { a.IMAP.Host = "evil.example.com" }, nil, all},
		"the host, with half of OAuth": {func(a *account.Account) { a.IMAP.Password, a.IMAP.OAuth2 = secret.String{}, oauth() },
			func(a *account.Account) { a.IMAP.Host = "evil.example.com" }, []string{"imap.oauth2.access_token"}, all[1:]},
		"OAuth's client": {func(a *account.Account) { a.IMAP.Password, a.IMAP.OAuth2 = secret.String{}, oauth() },
			func(a *account.Account) { a.IMAP.OAuth2.ClientID = "d" }, nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := &account.Account{Email: "ann@example.com", IMAP: account.Endpoint{Host: "imap.example.com", Password: secret.New("p")}}
			if c.before != nil {
				c.before(before)
			}
			before.Normalize()
			after := before.Clone()
			c.change(after)
			after.Normalize()
			got := account.Redirected(before, after, func(field string) bool { return slices.Contains(c.given, field) })
			if !slices.Equal(got, c.want) {
				t.Errorf("redirected %v, want %v", got, c.want)
			}
		})
	}
}
