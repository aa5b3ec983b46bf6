package webhook

import (
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func FuzzParseJob(f *testing.F) {
	f.Add("id1", "message.created", "ann", "3", "1", "2026-11-23T10:00:00Z", "")
	f.Add("../x", "", "", "-1", "99999999999999999999", "never", "1")
	f.Fuzz(func(t *testing.T, id, typ, account, attempts, parks, stored, hastened string) {
		j, err := parseJob("w", nats.Header{
			headerEvent: {id}, headerType: {typ}, headerAccount: {account}, headerAttempts: {attempts}, headerParks: {parks},
			headerStored: {stored}, headerHastened: {hastened},
		}, []byte("{}"))
		if err == nil && (j.attempts < 0 || j.parks < 0) {
			t.Errorf("read %+v", j)
		}
	})
}

// A URL that is taken goes to a host that the guard can look at, in HTTP.
func FuzzURL(f *testing.F) {
	for _, text := range []string{
		"https://example.com/hook?a=b", "http://127.0.0.1:8080/", "https://user:pass@example.com/", "https://[::1%25eth0]/", "HTTPS://EXAMPLE.com",
		"https:example.com", "https://exa mple.com/", "https://example.com/#x", "https://1.2.3.4@5.6.7.8/", "ftp://example.com/", "https://example.com:99999/",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkURL(text) != "" {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("%q is taken: %+v, %v", text, u, err)
		}
		if u != nil && u.Scheme != "https" && u.Scheme != "http" {
			t.Errorf("%q is taken, of scheme %s", text, u.Scheme)
		}
	})
}
