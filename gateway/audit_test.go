package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// audited waits for an entry of the audit log that is as wanted, and gives it.
func (h *house) audited(t *testing.T, query string, wanted func(object) bool) object {
	t.Helper()
	var found object
	h.until(t, "/v1/auditEntries"+query, func(a answer) bool {
		for _, e := range list(a.ok(t), "entries") {
			if wanted(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func byRequest(id string) func(object) bool {
	return func(e object) bool { return e["requestId"] == id && e["begun"] == false }
}

// Whichever way a call comes, and whatever becomes of it, it is in the audit log.
func TestAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	account := h.account(t)
	c := h.admin().makes(t, object{"scopes": []string{"accounts:write", "messages:write", "submissions:send", "events:read"}})
	const secret = "canary-of-a-search"
	message := account + "/messages/ghrlsj1l000000800000q"
	cases := map[string]struct {
		by           holder
		method, path string
		body         any
		header       []string
		want         object
	}{
		"a read": {c, "GET", "/v1/" + account, nil, nil,
			object{"principal": c.name, "method": "AccountService.GetAccount", "code": "OK", "account": account, "resources": account}},
		"a write": {c, "PATCH", "/v1/" + account + "?updateMask=displayName", object{"displayName": secret}, nil,
			object{"principal": c.name, "method": "AccountService.UpdateAccount", "code": "OK", "account": account, "resources": account}},
		"a search": {c, "GET", "/v1/" + account + "/threads" + values("folder", account+"/folders/none", "filter", secret), nil, nil,
			object{"method": "ThreadService.ListThreads", "account": account, "resources": account + " " + account + "/folders/none"}},
		"a call without the scope": {c, "POST", "/v1/templates", object{"text": secret}, nil,
			object{"principal": c.name, "method": "TemplateService.CreateTemplate", "code": "PERMISSION_DENIED", "reason": "SCOPE_MISSING"}},
		"a call by nobody": {holder{house: h, text: secret}, "GET", "/v1/" + account, nil, nil,
			object{"principal": "", "method": "AccountService.GetAccount", "code": "UNAUTHENTICATED", "reason": "TOKEN_INVALID", "account": account}},
		"what is not there": {h.admin(), "GET", "/v1/accounts/none", nil, nil,
			object{"principal": "admin", "code": "NOT_FOUND", "reason": "ACCOUNT_NOT_FOUND", "account": "accounts/none"}},
		"a download": {c, "GET", "/v1/" + message + ":raw", nil, nil,
			object{"principal": c.name, "method": "MessageService.DownloadMessage", "account": account, "resources": message}},
		"an upload": {c, "POST", "/v1/" + account + "/uploads?filename=" + secret, secret, []string{"Content-Type", "text/plain"},
			object{"method": "UploadService.CreateUpload", "code": "OK", "account": account, "resources": account}},
		"a call that is not valid": {c, "GET", "/v1/" + account + "/threads?pageSize=-1", nil, nil,
			object{"method": "ThreadService.ListThreads", "code": "INVALID_ARGUMENT", "account": account}},
	}
	t.Run("calls", func(t *testing.T) { // it ends when all of them have
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				id := freshID()
				test.by.asks(t, test.method, test.path, test.body, append(test.header, "X-Request-Id", id)...)
				e := h.audited(t, "", byRequest(id))
				for key, want := range test.want {
					got := fmt.Sprint(e[key])
					if items, ok := e[key].([]any); ok {
						var names []string
						for _, item := range items {
							names = append(names, item.(string))
						}
						slices.Sort(names)
						got = strings.Join(names, " ")
					}
					if got != want {
						t.Errorf("%s is %q, want %q: %v", key, got, want, e)
					}
				}
				if e["remoteAddress"] != "127.0.0.1" || e["node"] != "house" || e["time"] == nil {
					t.Errorf("the entry is %v", e)
				}
			})
		}
	})
	if all := fmt.Sprint(h.get(t, "/v1/auditEntries?pageSize=500")); strings.Contains(all, secret) {
		t.Error("content is in the audit log")
	}
}

func TestAuditOfStreamsAndTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	account := h.account(t)
	c := h.admin().makes(t, object{"scopes": []string{"events:read"}})
	h.audited(t, "?method=TokenService", func(e object) bool {
		return e["method"] == "TokenService.CreateToken" && fmt.Sprint(e["resources"]) == "["+c.name+"]"
	})
	watch, err := posternv1.NewEventServiceClient(h.grpc).WatchEvents(c.ctx(t), &posternv1.WatchEventsRequest{Accounts: []string{account}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	events := c.watch(t, values("accounts", account), "Authorization", "Bearer "+c.text)
	if _, err := events.next(); err != nil {
		t.Fatal(err)
	}
	began := 0
	h.audited(t, values("principal", c.name), func(e object) bool {
		if e["begun"] == true && e["method"] == "EventService.WatchEvents" {
			began++
		}
		return began >= 2
	})
	h.do(t, http.MethodPost, "/v1/"+c.name+":revoke", object{}).ok(t)
	if err := receiveAll(watch.Recv); !isTokenInvalid(err) {
		t.Errorf("the watch ends with %v", err)
	}
	h.audited(t, values("principal", c.name, "code", "UNAUTHENTICATED"), func(e object) bool {
		return e["method"] == "EventService.WatchEvents" && e["begun"] == false && e["reason"] == "TOKEN_INVALID"
	})
	// Who goes on using it is named.
	c.asks(t, http.MethodGet, "/v1/events:cursor", nil).refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	h.audited(t, values("principal", c.name, "method", "EventService.GetEventCursor"), func(e object) bool { return e["code"] == "UNAUTHENTICATED" })
}

func TestAuditIsForWhoMayDoAll(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	free := h.admin().makes(t, object{"scopes": []string{"admin"}})
	free.asks(t, http.MethodGet, "/v1/auditEntries?pageSize=1", nil).ok(t)
	for reason, content := range map[string]object{
		"GRANT_EXCEEDED": {"scopes": []string{"admin"}, "accounts": []string{"accounts/ann"}},
		"SCOPE_MISSING":  {"scopes": []string{"tokens:admin", "messages:read"}},
	} {
		h.admin().makes(t, content).asks(t, http.MethodGet, "/v1/auditEntries", nil).refused(t, http.StatusForbidden, reason)
	}
	h.do(t, http.MethodGet, "/v1/auditEntries?startTime=x", nil).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	h.do(t, http.MethodGet, "/v1/auditEntries?pageToken=x", nil).refused(t, http.StatusBadRequest, "PAGE_TOKEN_MISMATCH")
}

// A flood of wrong tokens does not push the rest out of the log.
func TestAuditOfAFlood(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	nobody := holder{house: h, text: "wrong"}
	const calls = 60
	for range calls {
		nobody.asks(t, http.MethodGet, "/v1/tokens:whoami", nil).refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	}
	count := func() (entries, suppressed int) {
		for _, e := range list(h.get(t, "/v1/auditEntries?code=UNAUTHENTICATED&pageSize=500"), "entries") {
			var n int
			_, _ = fmt.Sscan(e["suppressed"].(string), &n)
			entries, suppressed = entries+1, suppressed+n
		}
		return entries, suppressed
	}
	h.until(t, "/v1/events:cursor", func(answer) bool {
		// One more, in a second that has room, says how many there were.
		nobody.asks(t, http.MethodGet, "/v1/tokens:whoami", nil)
		entries, suppressed := count()
		return entries+suppressed >= calls
	})
	if entries, suppressed := count(); suppressed == 0 {
		t.Logf("each of %d calls has an entry: the machine is slow", entries)
	}
}

func TestAuditOfWritesAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{gateway: func(c *gateway.Config) { c.AuditWrites = true }})
	account := h.account(t)
	reader := h.admin().makes(t, object{"scopes": []string{"accounts:read"}})
	h.get(t, "/v1/"+account)
	reader.asks(t, http.MethodGet, "/v1/auditEntries", nil).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	h.audited(t, values("principal", reader.name), func(e object) bool { return e["code"] == "PERMISSION_DENIED" })
	for _, e := range list(h.get(t, "/v1/auditEntries"), "entries") {
		if e["method"] == "AccountService.GetAccount" {
			t.Errorf("a read is there: %v", e)
		}
	}
}

func TestNoAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{gateway: func(c *gateway.Config) { c.Audit = nil }})
	h.do(t, http.MethodGet, "/v1/auditEntries", nil).refused(t, http.StatusBadRequest, "AUDIT_OFF")
}
