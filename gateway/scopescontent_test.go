package gateway_test

import (
	"net/http"
	"testing"

	"github.com/postern-mail/postern/internal/access"
)

// Who may send and not read must not have mail sent to themselves to read it.
func TestSendingNeedsWhatItReads(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
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
		missing := func(who holder) bool {
			return who.asks(t, http.MethodPost, path, test.content).status == http.StatusForbidden
		}
		if got := missing(h.give(t, access.Grant{Scopes: []access.Scope{send}})); got != (test.needs != nil) {
			t.Errorf("%s: refused to who may only send: %t", what, got)
		}
		if missing(h.give(t, access.Grant{Scopes: append([]access.Scope{send}, test.needs...)})) {
			t.Errorf("%s is refused though nothing is missing", what)
		}
	}
	h.give(t, access.Grant{Scopes: []access.Scope{send}}).asks(t, http.MethodPost, name+"/submissions:merge", object{
		"submission": object{"subject": "x", "text": "x", "attachments": []object{{"attachment": message + "/attachments/2"}}},
		"recipients": []object{{"to": object{"address": "me@example.com"}}},
	}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
}

func TestWebhooksNeedWhatTheySend(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	manage := h.give(t, access.Grant{Scopes: []access.Scope{access.WebhooksAdmin}})
	events := h.give(t, access.Grant{Scopes: []access.Scope{access.WebhooksAdmin, access.EventsRead}})
	messages := h.give(t, access.Grant{Scopes: []access.Scope{access.WebhooksAdmin, access.EventsRead, access.MessagesRead}})
	create := func(who holder, payload string) answer {
		return who.asks(t, http.MethodPost, "/v1/webhooks", object{"url": "https://example.com/", "payload": payload})
	}
	for payload, allowed := range map[string][]bool{
		"THIN": {true, true, true}, "ENVELOPE": {false, true, true}, "PAYLOAD_UNSPECIFIED": {false, true, true}, "BODY": {false, false, true},
	} {
		for i, who := range []holder{manage, events, messages} {
			a := create(who, payload)
			if allowed[i] {
				a.ok(t)
			} else {
				a.refused(t, http.StatusForbidden, "SCOPE_MISSING")
			}
		}
	}
	thin := "/v1/" + create(manage, "THIN").ok(t)["name"].(string)
	manage.asks(t, http.MethodPatch, thin, object{"payload": "BODY"}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	events.asks(t, http.MethodPatch, thin, object{"payload": "ENVELOPE"}).ok(t)
	// What is sent already cannot be had by a change of where it goes.
	manage.asks(t, http.MethodPatch, thin, object{"url": "https://evil.example.com/"}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	manage.asks(t, http.MethodPatch, thin, object{"types": []string{"message.created"}}).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	manage.asks(t, http.MethodPatch, thin, object{"displayName": "x", "maxConcurrency": 2}).ok(t)
}

// Templates are everybody's: who is bound to some accounts may use them.
func TestTemplatesAndBoundTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	bound := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{"ann"}})
	path := "/v1/templates/" + freshID()
	h.do(t, http.MethodPost, "/v1/templates?templateId="+path[len("/v1/templates/"):], object{"subject": "x", "text": "x"}).ok(t)
	bound.asks(t, http.MethodGet, path, nil).ok(t)
	bound.asks(t, http.MethodGet, "/v1/templates", nil).ok(t)
	bound.asks(t, http.MethodPatch, path, object{"subject": "y"}).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
	bound.asks(t, http.MethodDelete, path, nil).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
	bound.asks(t, http.MethodPost, "/v1/templates", object{"subject": "x", "text": "x"}).refused(t, http.StatusForbidden, "GRANT_EXCEEDED")
}
