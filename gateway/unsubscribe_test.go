package gateway_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/smtptest"
)

// visit makes a request without a token of the API, as a mail program or a browser.
func (h *house) visit(t *testing.T, method, path, contentType, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: content}
}

const form = "application/x-www-form-urlencoded"

func (s *sender) blocked(t *testing.T, address string) []object {
	t.Helper()
	return list(s.get(t, "/v1/"+s.name+"/blocks"+values("address", address)), "blocks")
}

func TestOneClickUnsubscribe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	m, _, _ := s.sent(t, object{"to": to("Bob@example.com"), "text": "x", "unsubscribe": object{"hosted": true}, "saveToSent": "NEVER"})
	if got := m.Header.Get("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
		t.Errorf("List-Unsubscribe-Post %q", got)
	}
	header := m.Header.Get("List-Unsubscribe")
	token, ok := strings.CutPrefix(header, "<https://postern.example/mail/unsubscribe/")
	token, closed := strings.CutSuffix(token, ">")
	if !ok || !closed || strings.ContainsAny(token, " <>,") || strings.Contains(header, "bob") {
		t.Fatalf("List-Unsubscribe %q", header)
	}
	path := "/unsubscribe/" + token
	// Looking does nothing.
	page := s.visit(t, http.MethodGet, path, "", "")
	if page.status != http.StatusOK || !strings.Contains(string(page.body), `<form method="post">`) || !strings.Contains(string(page.body), s.username) ||
		page.header.Get("Content-Security-Policy") == "" || page.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%d %s", page.status, page.body)
	}
	for name, a := range map[string]answer{
		"another form": s.visit(t, http.MethodPost, path, form, "a=b"),
		"no form":      s.visit(t, http.MethodPost, path, "text/plain", "List-Unsubscribe=One-Click"),
		"in the query": s.visit(t, http.MethodPost, path+"?List-Unsubscribe=One-Click", form, ""),
		"much":         s.visit(t, http.MethodPost, path, form, "List-Unsubscribe=One-Click&a="+strings.Repeat("x", 10_000)),
	} {
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	changed := "A" + token[1:]
	if token[0] == 'A' {
		changed = "B" + token[1:]
	}
	for _, other := range []string{"", "x", changed, strings.Repeat("A", 2000)} {
		if a := s.visit(t, http.MethodPost, "/unsubscribe/"+other, form, "List-Unsubscribe=One-Click"); a.status != http.StatusNotFound {
			t.Errorf("token %q: status %d", other, a.status)
		}
	}
	if a := s.visit(t, http.MethodPut, path, form, "List-Unsubscribe=One-Click"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: status %d", a.status)
	}
	if b := s.blocked(t, "bob@example.com"); len(b) != 0 {
		t.Fatalf("blocked already: %v", b)
	}
	// One click, in either encoding, as often as one likes.
	if a := s.visit(t, http.MethodPost, path, form, "List-Unsubscribe=One-Click"); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if b := s.blocked(t, "bob@example.com"); len(b) != 1 || b[0]["origin"] != "UNSUBSCRIBED" {
		t.Errorf("blocked %v", b)
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	_ = parts.WriteField("List-Unsubscribe", "One-Click")
	_ = parts.Close()
	if a := s.visit(t, http.MethodPost, path, parts.FormDataContentType(), body.String()); a.status != http.StatusOK {
		t.Errorf("multipart: status %d", a.status)
	}
	if got := s.submit(t, object{"to": to("bob@example.com"), "text": "x", "wait": "30s"}).ok(t); got["state"] != "FAILED" {
		t.Errorf("sent to who has unsubscribed: %v", got)
	}
	if log := s.logged.String(); strings.Contains(log, token) || strings.Contains(strings.ToLower(log), "bob@example.com") {
		t.Error("the log has the token or the address")
	}
}

func TestUnsubscribeLinksOfMerges(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	results := list(s.merge(t, object{
		"submission": object{"text": "x", "unsubscribe": object{"url": "https://example.com/u?who={{urlquery .id}}"}, "saveToSent": "NEVER"},
		"recipients": []object{
			recipient("bob@example.com", object{"id": "b&b <x>\r\n"}),
			recipient("eve@example.com", object{}),
		},
	}).ok(t), "results")
	if reason, metadata := errorOf(t, results[1]); reason != "VARIABLE_MISSING" || metadata["part"] != "url" {
		t.Errorf("%v", results[1])
	}
	hosted := list(s.merge(t, object{
		"submission": object{"text": "x", "unsubscribe": object{"hosted": true}, "saveToSent": "NEVER"},
		"recipients": []object{recipient("joe@example.com", nil), recipient("kim@example.com", nil)},
	}).ok(t), "results")
	if len(hosted) != 2 || hosted[0]["submission"] == "" || hosted[1]["submission"] == "" {
		t.Errorf("%v", hosted)
	}
	links := map[string]bool{}
	for _, d := range s.smtp.Wait(t, 3) {
		for line := range strings.SplitSeq(string(d.Data), "\r\n") {
			if link, ok := strings.CutPrefix(line, "List-Unsubscribe: "); ok {
				links[link] = true
			}
		}
	}
	if len(links) != 3 || !links["<https://example.com/u?who=b%26b+%3Cx%3E%0D%0A>"] {
		t.Errorf("links %v", links)
	}
}

func TestUnsubscribeLinksThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	bob := to("bob@example.com")
	for name, test := range map[string]struct {
		content object
		field   string
	}{
		"plain HTTP":     {object{"to": bob, "unsubscribe": object{"url": "http://example.com/"}}, "submission.unsubscribe.url"},
		"a bracket":      {object{"to": bob, "unsubscribe": object{"url": "https://example.com/>,<mailto:x@example.com"}}, "submission.unsubscribe.url"},
		"a line break":   {object{"to": bob, "unsubscribe": object{"url": "https://example.com/\r\nBcc: eve@example.com"}}, "submission.unsubscribe.url"},
		"no host":        {object{"to": bob, "unsubscribe": object{"url": "https:///x"}}, "submission.unsubscribe.url"},
		"neither":        {object{"to": bob, "unsubscribe": object{}}, "submission.unsubscribe.at"},
		"two recipients": {object{"to": to("bob@example.com", "eve@example.com"), "unsubscribe": object{"hosted": true}}, "submission.unsubscribe.hosted"},
		"twice": {object{"to": bob, "unsubscribe": object{"hosted": true}, "headers": []object{{"name": "list-unsubscribe", "value": "<mailto:x@example.com>"}}},
			"submission.unsubscribe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.submit(t, test.content)
			a.refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
			if !strings.Contains(string(a.body), `"`+test.field+`"`) {
				t.Errorf("no violation of %s: %s", test.field, a.body)
			}
		})
	}
	hidden := newHouse(t, options{gateway: func(cfg *gateway.Config) { cfg.PublicURL = "" }})
	name, _, _ := hidden.dovecot(t)
	hidden.do(t, http.MethodPatch, "/v1/"+name, object{"smtp": object{"host": s.smtp.Host, "port": s.smtp.Port, "tlsMode": "PLAINTEXT", "password": "secret"}}).ok(t)
	hidden.do(t, http.MethodPost, "/v1/"+name+"/submissions", object{"to": bob, "unsubscribe": object{"hosted": true}}).
		refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
}
