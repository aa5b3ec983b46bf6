package account_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/invalid"
	"github.com/postern-mail/postern/internal/secret"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20_000)
	grant := func(change func(*account.OAuth2)) func(*account.Account) {
		return func(a *account.Account) {
			a.IMAP.Password = secret.String{}
			a.IMAP.OAuth2 = oauthAnn("https://login.example.com/token").IMAP.OAuth2
			change(a.IMAP.OAuth2)
		}
	}
	cases := map[string]struct {
		change func(*account.Account)
		field  string // what is wrong; empty for nothing
	}{
		"all well":               {func(*account.Account) {}, ""},
		"no SMTP":                {func(a *account.Account) { a.SMTP = nil }, ""},
		"no id":                  {func(a *account.Account) { a.ID = "" }, ""},
		"id in capitals":         {func(a *account.Account) { a.ID = "Ann_Lee-2" }, ""},
		"id with a dot":          {func(a *account.Account) { a.ID = "ann.lee" }, "id"},
		"id is a dash":           {func(a *account.Account) { a.ID = "-" }, "id"},
		"id with a wildcard":     {func(a *account.Account) { a.ID = "a*" }, "id"},
		"id with a newline":      {func(a *account.Account) { a.ID = "ann\n" }, "id"},
		"id too long":            {func(a *account.Account) { a.ID = long[:64] }, "id"},
		"name too long":          {func(a *account.Account) { a.DisplayName = long[:201] }, "display_name"},
		"name with a newline":    {func(a *account.Account) { a.DisplayName = "a\nb" }, "display_name"},
		"no email":               {func(a *account.Account) { a.Email = "" }, "email"},
		"email with a name":      {func(a *account.Account) { a.Email = "Ann <ann@example.com>" }, "email"},
		"email without at":       {func(a *account.Account) { a.Email = "ann" }, "email"},
		"international email":    {func(a *account.Account) { a.Email = "änn@exämple.com" }, ""},
		"no host":                {func(a *account.Account) { a.IMAP.Host = "" }, "imap.host"},
		"host with port":         {func(a *account.Account) { a.IMAP.Host = "mail.example.com:993" }, "imap.host"},
		"host with scheme":       {func(a *account.Account) { a.IMAP.Host = "imaps://mail" }, "imap.host"},
		"host with a newline":    {func(a *account.Account) { a.IMAP.Host = "mail\r\nx" }, "imap.host"},
		"international host":     {func(a *account.Account) { a.IMAP.Host = "mäil.example.com" }, ""},
		"IPv4":                   {func(a *account.Account) { a.IMAP.Host = "192.0.2.1" }, ""},
		"IPv6":                   {func(a *account.Account) { a.IMAP.Host = "2001:db8::1" }, ""},
		"IPv6 with zone":         {func(a *account.Account) { a.IMAP.Host = "fe80::1%eth0" }, "imap.host"},
		"port below":             {func(a *account.Account) { a.IMAP.Port = -1 }, "imap.port"},
		"port above":             {func(a *account.Account) { a.SMTP.Port = 65536 }, "smtp.port"},
		"unknown mode":           {func(a *account.Account) { a.IMAP.TLSMode = "SSL" }, "imap.tls_mode"},
		"user with a newline":    {func(a *account.Account) { a.IMAP.Username = "a\r\nb" }, "imap.username"},
		"no password":            {func(a *account.Account) { a.IMAP.Password = secret.String{} }, "imap.password"},
		"password with NUL":      {func(a *account.Account) { a.IMAP.Password = secret.New("a\x00b") }, "imap.password"},
		"password too long":      {func(a *account.Account) { a.IMAP.Password = secret.New(long) }, "imap.password"},
		"password and oauth2":    {func(a *account.Account) { a.IMAP.OAuth2 = &account.OAuth2{AccessToken: secret.New("x")} }, "imap.password"},
		"oauth2":                 {grant(func(*account.OAuth2) {}), ""},
		"oauth2 without token":   {grant(func(o *account.OAuth2) { o.RefreshToken = secret.String{} }), "imap.oauth2.refresh_token"},
		"access token only":      {grant(func(o *account.OAuth2) { *o = account.OAuth2{AccessToken: secret.New("x")} }), ""},
		"no client id":           {grant(func(o *account.OAuth2) { o.ClientID = "" }), "imap.oauth2.client_id"},
		"token URL in clear":     {grant(func(o *account.OAuth2) { o.TokenURL = "http://login.example.com" }), "imap.oauth2.token_url"},
		"token URL on loopback":  {grant(func(o *account.OAuth2) { o.TokenURL = "http://127.0.0.1:1/" }), ""},
		"token URL of a file":    {grant(func(o *account.OAuth2) { o.TokenURL = "file:///etc/passwd" }), "imap.oauth2.token_url"},
		"token URL with login":   {grant(func(o *account.OAuth2) { o.TokenURL = "https://a:b@login.example.com" }), "imap.oauth2.token_url"},
		"token with newline":     {grant(func(o *account.OAuth2) { o.AccessToken = secret.New("a\r\nb") }), "imap.oauth2.access_token"},
		"SMTP user and password": {func(a *account.Account) { a.SMTP.Password = secret.New("a\nb") }, "smtp.password"},
		"label key":              {func(a *account.Account) { a.Labels = map[string]string{"Team": "x"} }, "labels"},
		"label value":            {func(a *account.Account) { a.Labels = map[string]string{"team": long} }, "labels"},
		"too many labels":        {func(a *account.Account) { a.Labels = manyLabels(65) }, "labels"},
		"poll too often":         {func(a *account.Account) { a.Watch.PollInterval = time.Millisecond }, "watch.poll_interval"},
		"poll too seldom":        {func(a *account.Account) { a.Watch.PollInterval = 25 * time.Hour }, "watch.poll_interval"},
		"no poll interval":       {func(a *account.Account) { a.Watch.PollInterval = 0 }, ""},
		"idle folders":           {func(a *account.Account) { a.Watch.IdleFolders = []string{"Work", "Spammer"} }, ""},
		"too many idle folders":  {func(a *account.Account) { a.Watch.IdleFolders = make([]string, 11) }, "watch.idle_folders"},
		"idle on excluded":       {func(a *account.Account) { a.Watch.IdleFolders = []string{"Spam/Old"} }, "watch.idle_folders"},
		"empty folder":           {func(a *account.Account) { a.Watch.ExcludedFolders = []string{""} }, "watch.excluded_folders"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ann()
			c.change(a)
			a.Normalize()
			err := a.Validate()
			if c.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wrong, ok := errors.AsType[*invalid.Error](err)
			if !ok {
				t.Fatalf("error %v, want an invalid.Error", err)
			}
			if wrong.Fields[0].Name != c.field || wrong.Fields[0].Description == "" {
				t.Errorf("violations %+v, want one of %s", wrong.Fields, c.field)
			}
		})
	}
}

func manyLabels(n int) map[string]string {
	labels := make(map[string]string, n)
	for i := range n {
		labels[fmt.Sprintf("l%d", i)] = "x"
	}
	return labels
}

// Ids of accounts go into the subjects of events.
func TestIDsAreSubjectTokens(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "Ann_Lee-2", "0", strings.Repeat("z", 63)} {
		if !account.ValidID(id) || !event.ValidToken(id) {
			t.Errorf("%q is no id and token", id)
		}
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	ports := map[account.TLSMode][2]int{
		"":                {993, 465},
		account.TLS:       {993, 465},
		account.STARTTLS:  {143, 587},
		account.Plaintext: {143, 587},
	}
	for mode, want := range ports {
		a := &account.Account{Email: "ann@example.com",
			IMAP: account.Endpoint{Host: "h", TLSMode: mode, Password: secret.New("x")}, SMTP: &account.Endpoint{Host: "h", TLSMode: mode}}
		a.Normalize()
		if a.IMAP.Port != want[0] || a.SMTP.Port != want[1] || a.IMAP.Username != "ann@example.com" || a.IMAP.TLSMode == "" {
			t.Errorf("mode %q: %+v, %+v", mode, a.IMAP, a.SMTP)
		}
		if login, ok := a.SMTPLogin(); !ok || login.Username != "ann@example.com" || login.Password.Reveal() != "x" {
			t.Errorf("SMTP login %+v", login)
		}
	}
	own := ann()
	own.SMTP.Password = secret.New("relay")
	own.Normalize()
	if login, _ := own.SMTPLogin(); login.Username != "ann@example.com" || login.Password.Reveal() != "relay" {
		t.Errorf("SMTP login of its own: %+v", login)
	}
	shared := oauthAnn("https://login.example.com")
	shared.SMTP.OAuth2 = oauthAnn("https://login.example.com").IMAP.OAuth2
	shared.Normalize()
	if shared.SMTP.OAuth2 != nil {
		t.Error("two copies of one grant are kept: refreshing one would end the other")
	}
	if login, _ := shared.SMTPLogin(); login.OAuth2 == nil {
		t.Error("the shared grant is not used for SMTP")
	}
}
