package gateway_test

import (
	"net/http"
	"testing"

	"github.com/postern-mail/postern/internal/access"
)

// Who may send and not read must not have mail sent to themselves to read it.
func TestSendingNeedsWhatItReads(t *testing.T) {
	t.Parallel()
	h, r := guarded(t, options{})
	name := "/v1/" + h.account(t)
	to := to("me@example.com")
	message := idOf(name[len("/v1/"):])
	message = "accounts/" + message + "/messages/ghrlsj1l000000800000u"
	draft := name[len("/v1/"):] + "/drafts/" + "d0123456789abcdef"
	send, read := access.SubmissionsSend, access.MessagesRead
	for what, test := range map[string]struct {
		content object
		needs   []access.Scope
	}{
		"text":                    {object{"to": to, "text": "x"}, nil},
		"a reply":                 {object{"to": to, "text": "x", "reply": object{"message": message}}, []access.Scope{read}},
		"a forwarded message":     {object{"to": to, "reply": object{"message": message, "mode": "FORWARD"}}, []access.Scope{read}},
		"an attachment":           {object{"to": to, "text": "x", "attachments": []object{{"attachment": message + "/attachments/2"}}}, []access.Scope{read}},
		"a draft":                 {object{"draft": draft}, []access.Scope{access.MessagesWrite}},
		"a draft, to somebody":    {object{"draft": draft, "envelope": object{"rcptTo": []string{"me@example.com"}}}, []access.Scope{access.MessagesWrite}},
		"a file of the caller's":  {object{"to": to, "attachments": []object{{"filename": "a", "content": "YQ=="}}}, nil},
		"an upload of the caller": {object{"to": to, "attachments": []object{{"upload": "uploads/u"}}}, nil},
	} {
		path := name + "/submissions"
		missing := func(who caller) bool {
			return who.do(t, h, http.MethodPost, path, test.content).status == http.StatusForbidden
		}
		if got := missing(r.give(access.Grant{Scopes: []access.Scope{send}})); got != (test.needs != nil) {
			t.Errorf("%s: refused to who may only send: %t", what, got)
		}
		if missing(r.give(access.Grant{Scopes: append([]access.Scope{send}, test.needs...)})) {
			t.Errorf("%s is refused though nothing is missing", what)
		}
	}
	r.give(access.Grant{Scopes: []access.Scope{send}}).do(t, h, http.MethodPost, name+"/submissions:merge", object{
		"submission": object{"subject": "x", "text": "x", "attachments": []object{{"attachment": message + "/attachments/2"}}},
		"recipients": []object{{"to": object{"address": "me@example.com"}}},
	}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
}

func TestWebhooksNeedWhatTheySend(t *testing.T) {
	t.Parallel()
	h, r := guarded(t, options{})
	manage := r.give(access.Grant{Scopes: []access.Scope{access.WebhooksAdmin}})
	events := r.give(access.Grant{Scopes: []access.Scope{access.WebhooksAdmin, access.EventsRead}})
	messages := r.give(access.Grant{Scopes: []access.Scope{access.WebhooksAdmin, access.EventsRead, access.MessagesRead}})
	create := func(who caller, payload string) answer {
		return who.do(t, h, http.MethodPost, "/v1/webhooks", object{"url": "https://example.com/", "payload": payload})
	}
	for payload, allowed := range map[string][]bool{
		"THIN": {true, true, true}, "ENVELOPE": {false, true, true}, "PAYLOAD_UNSPECIFIED": {false, true, true}, "BODY": {false, false, true},
	} {
		for i, who := range []caller{manage, events, messages} {
			a := create(who, payload)
			if allowed[i] {
				a.ok(t)
			} else {
				a.refused(t, http.StatusForbidden, "SCOPE_MISSING")
			}
		}
	}
	thin := "/v1/" + create(manage, "THIN").ok(t)["name"].(string)
	manage.do(t, h, http.MethodPatch, thin, object{"payload": "BODY"}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	events.do(t, h, http.MethodPatch, thin, object{"payload": "ENVELOPE"}).ok(t)
	// What is sent already cannot be had by a change of where it goes.
	manage.do(t, h, http.MethodPatch, thin, object{"url": "https://evil.example.com/"}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	manage.do(t, h, http.MethodPatch, thin, object{"types": []string{"message.created"}}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	manage.do(t, h, http.MethodPatch, thin, object{"displayName": "x", "maxConcurrency": 2}).ok(t)
}

// Templates are everybody's: who is bound to some accounts may use them.
func TestTemplatesAndBoundTokens(t *testing.T) {
	t.Parallel()
	h, r := guarded(t, options{})
	bound := r.give(access.Grant{Scopes: allScopes(), Accounts: []string{"ann"}})
	path := "/v1/templates/" + freshID()
	h.do(t, http.MethodPost, "/v1/templates?templateId="+path[len("/v1/templates/"):], object{"subject": "x", "text": "x"}).ok(t)
	bound.do(t, h, http.MethodGet, path, nil).ok(t)
	bound.do(t, h, http.MethodGet, "/v1/templates", nil).ok(t)
	bound.do(t, h, http.MethodPatch, path, object{"subject": "y"}).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
	bound.do(t, h, http.MethodDelete, path, nil).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
	bound.do(t, h, http.MethodPost, "/v1/templates", object{"subject": "x", "text": "x"}).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
}
