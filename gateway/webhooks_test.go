package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
)

// delivery is a request that an endpoint got.
type delivery struct {
	header http.Header
	body   object
}

// endpoint starts an endpoint that answers with a status, and gives what it gets.
func endpoint(t testing.TB, status int) (url string, got chan delivery) {
	t.Helper()
	got = make(chan delivery, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		d := delivery{header: r.Header}
		if err == nil && json.Unmarshal(text, &d.body) == nil {
			select {
			case got <- d:
			default:
			}
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "thank you")
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func receive(t testing.TB, got chan delivery) delivery {
	t.Helper()
	select {
	case d := <-got:
		return d
	case <-time.After(time.Minute):
		t.Fatal("the endpoint gets nothing")
		return delivery{}
	}
}

func TestWebhookLifecycle(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account := h.demo(t)
	url, got := endpoint(t, http.StatusOK)
	id := freshID()
	request := object{
		"url": url, "types": []string{"message.created"}, "accounts": []string{account}, "payload": "ENVELOPE", "ordered": false,
		"headers": object{"authorization": "Bearer canary-of-the-header"},
	}
	created := h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, request, "Idempotency-Key", "key-"+id).ok(t)
	secret, _ := created["secret"].(string)
	if created["name"] != "webhooks/"+id || created["state"] != "ENABLED" || !strings.HasPrefix(secret, "whsec_") ||
		created["headerNames"].([]any)[0] != "Authorization" {
		t.Fatalf("created %v", created)
	}
	again := h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, request, "Idempotency-Key", "key-"+id).ok(t)
	if again["secret"] != secret || again["etag"] != created["etag"] {
		t.Errorf("the repetition gives %v", again)
	}
	request["url"] = url + "/other"
	h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, request, "Idempotency-Key", "key-"+id).refused(t, 400, "REQUEST_ID_REUSED")
	h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, request).refused(t, 409, "WEBHOOK_EXISTS")

	path := "/v1/webhooks/" + id
	shown := h.do(t, http.MethodGet, path, nil)
	o := shown.ok(t)
	if o["secret"] != "" || len(o["headers"].(object)) != 0 || strings.Contains(string(shown.body), "canary") || o["backlog"] == nil {
		t.Errorf("shown %s", shown.body)
	}
	// One header is added, the other stays.
	updated := h.do(t, http.MethodPatch, path+"?updateMask=headers.x-more,displayName,payload",
		object{"headers": object{"x-more": "1"}, "displayName": "Mine", "payload": "THIN", "etag": o["etag"]}).ok(t)
	if n := updated["headerNames"].([]any); len(n) != 2 || updated["displayName"] != "Mine" || updated["payload"] != "THIN" || updated["url"] != url {
		t.Errorf("updated %v", updated)
	}
	h.do(t, http.MethodPatch, path, object{"displayName": "Other", "etag": o["etag"]}).refused(t, 409, "ETAG_MISMATCH")
	h.do(t, http.MethodPatch, path, object{"secret": secret}).refused(t, 400, "ARGUMENT_INVALID")

	test := h.do(t, http.MethodPost, path+":test", object{}).ok(t)["delivery"].(object)
	if test["outcome"] != "SUCCEEDED" || test["httpStatus"] != 200.0 || test["responseExcerpt"] != "thank you" || test["eventType"] != "webhook.test" {
		t.Errorf("test %v", test)
	}
	d := receive(t, got)
	if d.header.Get("Authorization") != "Bearer canary-of-the-header" || d.header.Get("X-More") != "1" ||
		d.body["type"] != "webhook.test" || d.header.Get("Webhook-Id") != test["eventId"] {
		t.Errorf("sent %v", d)
	}
	h.until(t, path+"/deliveries", func(a answer) bool { return len(list(a.ok(t), "deliveries")) == 1 })

	rotated := h.do(t, http.MethodPost, path+":rotateSecret", object{"overlap": "3600s"}).ok(t)
	if rotated["secret"] == secret || rotated["secret"] == "" || rotated["previousSecretExpireTime"] == nil {
		t.Errorf("rotated %v", rotated)
	}
	if o := h.do(t, http.MethodPost, path+":disable", object{}).ok(t); o["state"] != "DISABLED" || o["disabledReason"] != "REQUESTED" {
		t.Errorf("disabled %v", o)
	}
	h.do(t, http.MethodPost, path+"/deadLetters:redrive", object{}).refused(t, 400, "WEBHOOK_DISABLED")
	if o := h.do(t, http.MethodPost, path+":enable", object{}).ok(t); o["state"] != "ENABLED" || o["disableTime"] != nil {
		t.Errorf("enabled %v", o)
	}
	h.do(t, http.MethodDelete, path, nil).ok(t)
	h.do(t, http.MethodGet, path, nil).refused(t, 404, "WEBHOOK_NOT_FOUND")
	if strings.Contains(h.logged.String(), "canary") || strings.Contains(h.logged.String(), secret) {
		t.Error("a secret is in the log")
	}
}

func TestWebhooksArePagedAndMasked(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for _, id := range []string{"c", "a", "b"} {
		h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, object{"url": "https://example.com/" + id}).ok(t)
	}
	var seen []string
	for token := ""; ; {
		o := h.get(t, "/v1/webhooks"+values("pageSize", "2", "pageToken", token, "readMask", "name"))
		for _, w := range list(o, "webhooks") {
			if w["url"] != "" {
				t.Errorf("the mask left %v", w)
			}
			seen = append(seen, w["name"].(string))
		}
		if token = o["nextPageToken"].(string); token == "" {
			break
		}
	}
	if strings.Join(seen, " ") != "webhooks/a webhooks/b webhooks/c" {
		t.Errorf("listed %q", seen)
	}
	resp, err := posternv1.NewWebhookServiceClient(h.grpc).GetWebhook(asAdmin(t.Context()), &posternv1.GetWebhookRequest{Name: "webhooks/a"})
	if err != nil || resp.GetUrl() != "https://example.com/a" {
		t.Errorf("by gRPC: %v, %v", resp, err)
	}
}

func TestWebhookArguments(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for name, webhook := range map[string]object{
		"no url":             {},
		"scheme":             {"url": "ftp://example.com/"},
		"no host":            {"url": "https:///x"},
		"user in the url":    {"url": "https://ann:secret@example.com/"},
		"fragment":           {"url": "https://example.com/#x"},
		"unknown type":       {"url": "https://example.com/", "types": []string{"message.eaten"}},
		"header of ours":     {"url": "https://example.com/", "headers": object{"webhook-id": "x"}},
		"header with a line": {"url": "https://example.com/", "headers": object{"X-A": "a\r\nX-B: b"}},
		"header name":        {"url": "https://example.com/", "headers": object{"X A": "a"}},
		"secret":             {"url": "https://example.com/", "secret": "whsec_c2hvcnQ="},
		"concurrency":        {"url": "https://example.com/", "maxConcurrency": 65},
	} {
		h.do(t, http.MethodPost, "/v1/webhooks", webhook).refused(t, 400, "ARGUMENT_INVALID")
		_ = name
	}
	h.do(t, http.MethodPost, "/v1/webhooks", object{"url": "https://example.com/", "accounts": []string{"accounts/nobody"}}).
		refused(t, 404, "ACCOUNT_NOT_FOUND")
	id := freshID()
	h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+id, object{"url": "https://example.com/"}).ok(t)
	h.do(t, http.MethodPost, "/v1/webhooks/"+id+":replay", object{}).refused(t, 400, "ARGUMENT_INVALID")
	h.do(t, http.MethodPost, "/v1/webhooks/"+id+":replay", object{"afterCursor": "x"}).refused(t, 400, "CURSOR_INVALID")
	h.do(t, http.MethodDelete, "/v1/webhooks/"+id+"/deadLetters/none", nil).refused(t, 404, "DEAD_LETTER_NOT_FOUND")
}

// A webhook with the payload BODY gets the text of a new message, and is told
// when there is none to be had.
func TestWebhookSendsBodies(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account := h.demo(t)
	message := list(h.get(t, "/v1/"+account+"/messages"+values("pageSize", "1")), "messages")[0]
	url, got := endpoint(t, http.StatusOK)
	h.do(t, http.MethodPost, "/v1/webhooks", object{"url": url, "accounts": []string{account}, "payload": "BODY"}).ok(t)
	full := h.get(t, "/v1/"+message["name"].(string))

	id := strings.TrimPrefix(account, "accounts/")
	writer, err := h.events.Writer(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	ref := event.MessageRef{Message: message["name"].(string), Folder: message["folder"].(string)}
	gone := event.MessageRef{Message: withUID(t, ref.Message, 4_000_000), Folder: ref.Folder}
	for _, ref := range []event.MessageRef{ref, gone} {
		_, err := writer.Append(t.Context(), event.New(id, writer.Head().Number, time.Now(), &event.MessageCreated{MessageRef: ref, Origin: event.OriginNew}))
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		data := receive(t, got).body["data"].(object)
		body, _ := data["body"].(object)
		switch data["message"] {
		case ref.Message:
			if want := full["body"].(object); body["text"] != want["text"] || body["html"] != want["html"] || body["text"] == "" {
				t.Errorf("body %v, want %v", body, want)
			}
		case gone.Message:
			if data["bodyError"] != "MESSAGE_GONE" || body != nil {
				t.Errorf("a message that is gone: %v", data)
			}
		}
	}
}
