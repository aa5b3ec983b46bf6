package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/access"
)

// everything but what concerns the gateway itself.
func allScopes() []access.Scope {
	var scopes []access.Scope
	for _, s := range access.Scopes() {
		if s != access.Admin {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

func idOf(name string) string { return strings.TrimPrefix(name, "accounts/") }

// same checks that what is hidden from a caller is answered as what there is not, but
// for the name that was asked for.
func same(t testing.TB, hidden, missing answer, hiddenID, missingID string) {
	t.Helper()
	got, want := strings.ReplaceAll(string(hidden.body), hiddenID, "ID"), strings.ReplaceAll(string(missing.body), missingID, "ID")
	if hidden.status != missing.status || got != want {
		t.Errorf("hidden: %d %s\nmissing: %d %s", hidden.status, got, missing.status, want)
	}
}

func TestListsShowWhatACallerSees(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	own, second, hidden := h.labelled(t, "team", "sales"), h.labelled(t, "team", "sales"), h.labelled(t, "team", "law")
	byLabel := h.give(t, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}})
	byID := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{idOf(own), "nobody"}})
	neither := h.give(t, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "tax"}})
	for name, test := range map[string]struct {
		who  holder
		want []string
	}{"by label": {byLabel, []string{own, second}}, "by id": {byID, []string{own}}, "none": {neither, nil}} {
		page, seen := "", map[string]bool{}
		for range 5 { // a page with one each: nothing tells how many are passed over
			a := test.who.asks(t, http.MethodGet, "/v1/accounts"+values("pageSize", "1", "pageToken", page), nil)
			o := a.ok(t)
			if strings.Contains(string(a.body), idOf(hidden)) {
				t.Errorf("%s: %s", name, a.body)
			}
			for _, one := range list(o, "accounts") {
				seen[one["name"].(string)] = true
			}
			if page, _ = o["nextPageToken"].(string); page == "" {
				break
			}
		}
		if len(seen) != len(test.want) {
			t.Errorf("%s: listed %v, want %v", name, seen, test.want)
		}
		for _, one := range test.want {
			if !seen[one] {
				t.Errorf("%s: %s is not listed", name, one)
			}
		}
	}
	if got := list(byLabel.asks(t, http.MethodGet, "/v1/accounts"+values("filter", "labels.team = law"), nil).ok(t), "accounts"); len(got) > 0 {
		t.Errorf("the filter finds %v", got)
	}
	// A page token of who sees something else is none.
	token := byLabel.asks(t, http.MethodGet, "/v1/accounts?pageSize=1", nil).ok(t)["nextPageToken"].(string)
	byID.asks(t, http.MethodGet, "/v1/accounts"+values("pageSize", "1", "pageToken", token), nil).refused(t, 400, "PAGE_TOKEN_MISMATCH")
}

func TestAccountsOutsideOfAGrantCannotBeMade(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	hidden := h.labelled(t, "team", "law")
	byID := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{"mine" + freshID()}})
	byLabel := h.give(t, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}})
	settings := func(labels object) object {
		o := newAccount("ann@example.com")
		o["labels"] = labels
		return o
	}
	missing := freshID()
	for _, who := range []holder{byID, byLabel} {
		for _, query := range []string{"?accountId=", "?validateOnly=true&accountId="} {
			for _, labels := range []object{{}, {"team": "sales"}, {"team": "law"}} {
				there := who.asks(t, http.MethodPost, "/v1/accounts"+query+idOf(hidden), settings(labels))
				there.refused(t, 403, "GRANT_EXCEEDED")
				same(t, there, who.asks(t, http.MethodPost, "/v1/accounts"+query+missing, settings(labels)), idOf(hidden), missing)
			}
		}
	}
	byLabel.asks(t, http.MethodPost, "/v1/accounts", settings(nil)).refused(t, 403, "GRANT_EXCEEDED")
	byID.asks(t, http.MethodPost, "/v1/accounts", settings(object{"team": "sales"})).refused(t, 403, "GRANT_EXCEEDED")
	made := byLabel.asks(t, http.MethodPost, "/v1/accounts", settings(object{"team": "sales"}), "Idempotency-Key", "k").ok(t)["name"].(string)

	// It cannot be given away, nor become what the caller does not see.
	byLabel.asks(t, http.MethodPatch, "/v1/"+made+"?updateMask=labels", object{}).refused(t, 403, "GRANT_EXCEEDED")
	byLabel.asks(t, http.MethodPatch, "/v1/"+made, object{"labels": object{"team": "law"}}).refused(t, 403, "GRANT_EXCEEDED")
	byLabel.asks(t, http.MethodPatch, "/v1/"+made, object{"labels": object{"team": "sales", "floor": "2"}}).ok(t)
	// Once it is taken, not even the repetition of its creation shows it.
	h.do(t, http.MethodPatch, "/v1/"+made, object{"labels": object{"team": "law"}}).ok(t)
	byLabel.asks(t, http.MethodPost, "/v1/accounts", settings(object{"team": "sales"}), "Idempotency-Key", "k").refused(t, 400, "REQUEST_ID_REUSED")
	byLabel.asks(t, http.MethodGet, "/v1/"+made, nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	byLabel.asks(t, http.MethodDelete, "/v1/"+made, nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.get(t, "/v1/"+made)
}

// The same request id of two callers is two requests: neither gets the other's answer,
// nor learns that there is one.
func TestRequestIDsAreOnesOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	sales := access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}}
	a, b := h.give(t, sales), h.give(t, sales)
	settings := newAccount("ann@example.com")
	settings["labels"] = object{"team": "sales"}
	create := func(who holder, settings object) answer {
		return who.asks(t, http.MethodPost, "/v1/accounts", settings, "Idempotency-Key", "same")
	}
	first := create(a, settings).ok(t)["name"]
	if again := create(a, settings).ok(t)["name"]; again != first {
		t.Errorf("the repetition gives %v, want %v", again, first)
	}
	settings["displayName"] = "Another"
	if other := create(b, settings).ok(t)["name"]; other == first {
		t.Error("another caller gets the account of the first")
	}
	hook := func(who holder) object {
		return who.asks(t, http.MethodPost, "/v1/webhooks",
			object{"url": "https://example.com/", "accountLabels": object{"team": "sales"}}, "Idempotency-Key", "same").ok(t)
	}
	if hook(a)["secret"] == hook(b)["secret"] {
		t.Error("another caller gets the secret of the first")
	}
}

func TestWebhooksKeepWithinAGrant(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	ann, bob := h.labelled(t, "team", "sales"), h.labelled(t, "team", "law")
	byID := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{idOf(ann)}})
	byLabel := h.give(t, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}})
	url, _ := endpoint(t, http.StatusOK)
	for name, test := range map[string]struct {
		who    holder
		fields object
		reason string
	}{
		"its account":                 {byID, object{"accounts": []string{ann}}, ""},
		"no account":                  {byID, object{}, "GRANT_EXCEEDED"},
		"no account, but a label":     {byID, object{"accountLabels": object{"team": "sales"}}, "GRANT_EXCEEDED"},
		"one too many":                {byID, object{"accounts": []string{ann, bob}}, "ACCOUNT_NOT_FOUND"},
		"a missing one":               {byID, object{"accounts": []string{"accounts/nobody"}}, "ACCOUNT_NOT_FOUND"},
		"its label":                   {byLabel, object{"accountLabels": object{"team": "sales"}}, ""},
		"its label and more":          {byLabel, object{"accountLabels": object{"team": "sales", "x": "y"}}, ""},
		"another label":               {byLabel, object{"accountLabels": object{"team": "law"}}, "GRANT_EXCEEDED"},
		"an account that has a label": {byLabel, object{"accounts": []string{ann}}, "GRANT_EXCEEDED"},
	} {
		test.fields["url"] = url
		a := test.who.asks(t, http.MethodPost, "/v1/webhooks", test.fields)
		switch test.reason {
		case "":
			a.ok(t)
		case "GRANT_EXCEEDED":
			a.refused(t, 403, test.reason)
		default:
			a.refused(t, 404, test.reason)
		}
		if t.Failed() {
			t.Fatalf("that was: %s", name)
		}
	}
	all := "/v1/" + h.do(t, http.MethodPost, "/v1/webhooks?webhookId="+freshID(), object{"url": url}).ok(t)["name"].(string)
	own := "/v1/" + byID.asks(t, http.MethodPost, "/v1/webhooks", object{"url": url, "accounts": []string{ann}}).ok(t)["name"].(string)
	for _, who := range []holder{byID, byLabel} {
		same(t, who.asks(t, http.MethodGet, all, nil), who.asks(t, http.MethodGet, "/v1/webhooks/nothing", nil), "", "")
		who.asks(t, http.MethodPost, "/v1/webhooks?webhookId="+idOf(all[len("/v1/webhooks/"):]), object{"url": url, "accounts": []string{ann}, "accountLabels": object{"team": "sales"}}).
			refused(t, 403, "GRANT_EXCEEDED")
		listed := who.asks(t, http.MethodGet, "/v1/webhooks", nil)
		if strings.Contains(string(listed.body), all[len("/v1/"):]) {
			t.Errorf("a webhook for all accounts is listed: %s", listed.body)
		}
	}
	byLabel.asks(t, http.MethodGet, own, nil).refused(t, 404, "WEBHOOK_NOT_FOUND")
	// Neither can it be widened, nor does it stay visible when somebody else does.
	byID.asks(t, http.MethodPatch, own+"?updateMask=accounts", object{}).refused(t, 403, "GRANT_EXCEEDED")
	byID.asks(t, http.MethodPatch, own, object{"displayName": "mine"}).ok(t)
	h.do(t, http.MethodPatch, own+"?updateMask=accounts", object{}).ok(t)
	byID.asks(t, http.MethodPatch, own, object{"url": url + "/elsewhere"}).refused(t, 404, "WEBHOOK_NOT_FOUND")
	byID.asks(t, http.MethodPost, own+":rotateSecret", object{}).refused(t, 404, "WEBHOOK_NOT_FOUND")
}

func TestEventsOfWhatACallerSees(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	ann, bob := h.labelled(t, "team", "sales"), h.labelled(t, "team", "law")
	before := h.get(t, "/v1/events:cursor")["cursor"].(string)
	byID := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{idOf(ann)}})
	byLabel := h.give(t, access.Grant{Scopes: allScopes(), Labels: map[string]string{"team": "sales"}})
	open := h.watch(t, values("cursor", before), "Authorization", "Bearer "+byLabel.text)
	pens := map[string]*pen{ann: h.pen(t, ann), bob: h.pen(t, bob)}
	pens[bob].write("canary")
	pens[ann].write("a")
	pens[bob].write("canary")
	for _, who := range []holder{byID, byLabel} {
		for _, path := range []string{"/v1/accounts/-/events", "/v1/" + ann + "/events"} {
			a := who.asks(t, http.MethodGet, path+values("afterCursor", before), nil)
			events := list(a.ok(t), "events")
			if len(events) != 1 || detail(events[0]["event"].(object)) != "a" || strings.Contains(string(a.body), "canary") {
				t.Errorf("%s: %s", path, a.body)
			}
		}
		same(t, who.asks(t, http.MethodGet, "/v1/"+bob+"/events", nil), who.asks(t, http.MethodGet, "/v1/accounts/nobody/events", nil), idOf(bob), "nobody")
		if got, _ := h.watch(t, values("cursor", before), "Authorization", "Bearer "+who.text).take(1); got[0] != "a" {
			t.Errorf("watched %v", got)
		}
		who.asks(t, http.MethodPost, "/v1/events:ticket", object{"accounts": []string{bob}}).refused(t, 404, "ACCOUNT_NOT_FOUND")
		ticket := who.asks(t, http.MethodPost, "/v1/events:ticket", object{}).ok(t)["ticket"].(string)
		if resp := h.bare(t, "/v1/events:watch"+values("ticket", ticket, "accounts", bob)); resp.StatusCode != http.StatusNotFound {
			t.Errorf("a ticket opens the events of an account that its maker does not see: %d", resp.StatusCode)
		}
	}
	// Who loses the label is gone from streams that are open, and who gets it is there.
	h.do(t, http.MethodPatch, "/v1/"+ann, object{"labels": object{"team": "law"}}).ok(t)
	h.do(t, http.MethodPatch, "/v1/"+bob, object{"labels": object{"team": "sales"}}).ok(t)
	pens[ann].write("canary of ann")
	pens[bob].write("b")
	if got, _ := open.take(2); got[0] != "a" || got[1] != "b" {
		t.Errorf("the open stream gives %v", got)
	}
}

// A webhook that was for more accounts before shows those it is for now, to who sees
// no others.
func TestWhatAWebhookHasSentBefore(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	ann, bob := h.account(t), h.account(t)
	url, got := endpoint(t, http.StatusGone) // which makes a dead letter at once
	path := "/v1/" + h.do(t, http.MethodPost, "/v1/webhooks", object{"url": url, "accounts": []string{ann, bob}}).ok(t)["name"].(string)
	for i, name := range []string{ann, bob} {
		h.pen(t, name).write("x")
		receive(t, got)
		h.until(t, path+"/deadLetters", func(a answer) bool { return len(list(a.ok(t), "deadLetters")) == i+1 })
		h.until(t, path, func(a answer) bool { return a.ok(t)["state"] == "DISABLED" })
		h.do(t, http.MethodPost, path+":enable", object{}).ok(t)
	}
	h.until(t, path+"/deliveries", func(a answer) bool { return len(list(a.ok(t), "deliveries")) == 2 })
	letter := map[any]string{}
	for _, l := range list(h.get(t, path+"/deadLetters"), "deadLetters") {
		letter[l["account"]] = l["name"].(string)
	}
	h.do(t, http.MethodPatch, path, object{"accounts": []string{ann}}).ok(t)
	who := h.give(t, access.Grant{Scopes: allScopes(), Accounts: []string{idOf(ann)}})
	for _, field := range []string{"deliveries", "deadLetters"} {
		a := who.asks(t, http.MethodGet, path+"/"+field, nil)
		if all := list(a.ok(t), field); len(all) != 1 || all[0]["account"] != ann || strings.Contains(string(a.body), idOf(bob)) {
			t.Errorf("%s: %s", field, a.body)
		}
	}
	redrive := func(name string) answer {
		return who.asks(t, http.MethodPost, path+"/deadLetters:redrive", object{"names": []string{name}})
	}
	h.do(t, http.MethodPost, path+"/deadLetters:redrive", object{"names": []string{letter[bob]}}).refused(t, 400, "EVENT_NOT_CHOSEN")
	redrive(letter[bob]).refused(t, 404, "DEAD_LETTER_NOT_FOUND")
	who.asks(t, http.MethodDelete, "/v1/"+letter[bob], nil).refused(t, 404, "DEAD_LETTER_NOT_FOUND")
	redrive(letter[ann]).ok(t)
	h.do(t, http.MethodDelete, "/v1/"+letter[bob], nil).ok(t)
}
