package gateway_test

import (
	"net/http"
	"strings"
	"testing"
)

// Nobody gets what is stored by having it sent to a server of theirs.
func TestCredentialsStayWithTheirServers(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	created := func(settings object) string {
		return "/v1/" + h.do(t, http.MethodPost, "/v1/accounts?accountId="+freshID(), settings).ok(t)["name"].(string)
	}
	plain, oauth := newAccount("ann@example.com"), newAccount("ann@example.com")
	delete(oauth["imap"].(object), "password")
	oauth["imap"].(object)["oauth2"] = object{
		"tokenUrl": "https://login.example.com/token", "clientId": "c", "clientSecret": secretWord, "refreshToken": secretWord,
		"accessToken": secretWord, "expireTime": "2100-01-01T00:00:00Z",
	}
	evil := object{"host": "evil.example.com"}
	for name, test := range map[string]struct {
		of     object
		path   string
		change object
		needs  []string // none: it is done
	}{
		"another host":                   {plain, "", object{"imap": evil}, []string{"account.imap.password"}},
		"another host, by a mask":        {plain, "?updateMask=imap.host", object{"imap": evil}, []string{"account.imap.password"}},
		"another server for sending":     {plain, "", object{"smtp": evil}, []string{"account.imap.password"}},
		"without TLS":                    {plain, "", object{"imap": object{"tlsMode": "PLAINTEXT"}}, []string{"account.imap.password"}},
		"with the password":              {plain, "", object{"imap": object{"host": "evil.example.com", "password": "mine"}, "smtp": nil}, []string{}},
		"another token URL":              {oauth, "", object{"imap": object{"oauth2": object{"tokenUrl": "https://evil.example.com/"}}}, []string{"account.imap.oauth2.refresh_token", "account.imap.oauth2.client_secret"}},
		"half of what it takes":          {oauth, "", object{"imap": object{"oauth2": object{"tokenUrl": "https://evil.example.com/", "refreshToken": "mine"}}}, []string{"account.imap.oauth2.client_secret"}},
		"another host for OAuth":         {oauth, "", object{"imap": evil}, []string{"account.imap.oauth2.refresh_token", "account.imap.oauth2.access_token"}},
		"another host with a fresh one":  {oauth, "", object{"imap": object{"host": "evil.example.com", "oauth2": object{"refreshToken": "mine"}}}, []string{}},
		"another host and a new login":   {oauth, "", object{"imap": object{"host": "evil.example.com", "password": "mine"}}, []string{}},
		"a name, and all stays":          {oauth, "", object{"displayName": "Ann"}, []string{}},
		"the same as before":             {plain, "", object{"imap": object{"host": "imap.example.com"}}, []string{}},
		"another host, the whole server": {plain, "?updateMask=imap", object{"imap": object{"host": "evil.example.com", "port": 993, "username": "x", "password": "mine"}}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := created(test.of)
			before := h.do(t, http.MethodGet, path, nil)
			a := h.do(t, http.MethodPatch, path+test.path, test.change)
			if len(test.needs) == 0 {
				a.ok(t)
				return
			}
			a.refused(t, http.StatusBadRequest, "CREDENTIAL_REQUIRED")
			for _, field := range test.needs {
				if !strings.Contains(string(a.body), `"`+field+`"`) {
					t.Errorf("no violation of %s: %s", field, a.body)
				}
			}
			if after := h.do(t, http.MethodGet, path, nil); string(after.body) != string(before.body) {
				t.Errorf("it was changed all the same: %s", after.body)
			}
		})
	}
}

func TestWebhookHeadersStayWithTheirServer(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	url, _ := endpoint(t, http.StatusOK)
	evil, got := endpoint(t, http.StatusOK)
	made := func(headers object) string {
		return "/v1/" + h.do(t, http.MethodPost, "/v1/webhooks", object{"url": url, "headers": headers, "types": []string{"submission.sent"}}).ok(t)["name"].(string)
	}
	path := made(object{"Authorization": "Bearer stored", "X-Other": "stored"})
	for query, change := range map[string]object{
		"":                                      {"url": evil},
		"?updateMask=url":                       {"url": evil},
		"?updateMask=url,headers.authorization": {"url": evil, "headers": object{"authorization": "Bearer mine"}},
	} {
		h.do(t, http.MethodPatch, path+query, change).refused(t, http.StatusBadRequest, "CREDENTIAL_REQUIRED")
	}
	h.do(t, http.MethodPatch, path, object{"url": url + "/another/path"}).ok(t)
	h.do(t, http.MethodPatch, path+"?updateMask=url,headers", object{"url": evil, "headers": object{"authorization": "Bearer mine"}}).ok(t)
	h.do(t, http.MethodPost, path+":test", object{}).ok(t)
	if d := receive(t, got); d.header.Get("Authorization") != "Bearer mine" || d.header.Get("X-Other") != "" {
		t.Errorf("sent with %v", d.header)
	}
	h.do(t, http.MethodPatch, made(nil), object{"url": evil}).ok(t)
}
