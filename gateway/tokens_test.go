package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// holder calls with a token that was made for it.
type holder struct {
	*house
	name, text string
}

// makes makes a token by REST, and gives who calls with it.
func (c holder) makes(t testing.TB, token object) holder {
	t.Helper()
	if token["displayName"] == nil {
		token["displayName"] = t.Name()
	}
	made := c.asks(t, http.MethodPost, "/v1/tokens", token).ok(t)
	return holder{house: c.house, name: made["name"].(string), text: made["token"].(string)}
}

// asks sends a request with the caller's token.
func (c holder) asks(t testing.TB, method, path string, body any, header ...string) answer {
	t.Helper()
	return c.do(t, method, path, body, append(header, "Authorization", "Bearer "+c.text)...)
}

// ctx is a context whose gRPC calls carry the caller's token.
func (c holder) ctx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.text)
}

func (h *house) admin() holder { return holder{house: h, text: token} }

func TestTokensOverREST(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	content := object{"displayName": "reader", "scopes": []string{"messages:read"}, "accounts": []string{"accounts/ann"}, "expireTime": expires}
	made := h.do(t, http.MethodPost, "/v1/tokens", content).ok(t)
	text, name := made["token"].(string), made["name"].(string)
	if !strings.HasPrefix(text, "pstn_"+strings.TrimPrefix(name, "tokens/")) || made["state"] != "ACTIVE" || made["creator"] != "admin" ||
		fmt.Sprintln(made["scopes"], made["accounts"], made["expireTime"]) != "[messages:read] [accounts/ann] "+expires+"\n" {
		t.Errorf("made %v", made)
	}
	reader := holder{house: h, name: name, text: text}
	me := reader.asks(t, http.MethodGet, "/v1/tokens:whoami", nil).ok(t)
	if me["principal"] != name || fmt.Sprintln(me["scopes"], me["accounts"], me["expireTime"]) != "[messages:read] [accounts/ann] "+expires+"\n" {
		t.Errorf("it is %v", me)
	}
	if me := h.get(t, "/v1/tokens:whoami"); me["principal"] != "admin" || fmt.Sprint(me["scopes"]) != "[admin]" {
		t.Errorf("the administrator is %v", me)
	}
	reader.asks(t, http.MethodGet, "/v1/accounts", nil).refused(t, http.StatusForbidden, "SCOPE_MISSING")
	reader.asks(t, http.MethodGet, "/v1/"+name, nil).refused(t, http.StatusForbidden, "SCOPE_MISSING")

	got := h.get(t, "/v1/"+name)
	if got["token"] != "" || got["displayName"] != "reader" || got["lastUseTime"] == nil {
		t.Errorf("got %v", got)
	}
	changed := h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=displayName,expireTime", object{"displayName": "x", "etag": got["etag"]}).ok(t)
	if changed["displayName"] != "x" || changed["expireTime"] != nil || changed["etag"] == got["etag"] || changed["token"] != "" {
		t.Errorf("changed %v", changed)
	}
	h.do(t, http.MethodPatch, "/v1/"+name, object{"displayName": "y", "etag": got["etag"]}).refused(t, http.StatusConflict, "ETAG_MISMATCH")
	h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=scopes", object{}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	h.do(t, http.MethodPatch, "/v1/"+name, object{"expireTime": "2020-01-01T00:00:00Z"}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")

	revoked := h.do(t, http.MethodPost, "/v1/"+name+":revoke", object{}).ok(t)
	if revoked["state"] != "REVOKED" || revoked["revokeTime"] == nil {
		t.Errorf("revoked %v", revoked)
	}
	reader.asks(t, http.MethodGet, "/v1/tokens:whoami", nil).refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	h.do(t, http.MethodPatch, "/v1/"+name, object{"displayName": "y"}).refused(t, http.StatusBadRequest, "TOKEN_ENDED")
	h.do(t, http.MethodDelete, "/v1/"+name, nil).ok(t)
	h.do(t, http.MethodGet, "/v1/"+name, nil).refused(t, http.StatusNotFound, "TOKEN_NOT_FOUND")
	h.do(t, http.MethodPost, "/v1/"+name+":revoke", object{}).refused(t, http.StatusNotFound, "TOKEN_NOT_FOUND")
	reader.asks(t, http.MethodGet, "/v1/tokens:whoami", nil).refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
	if strings.Contains(h.logged.String(), text) {
		t.Error("a token is in the log")
	}
}

func TestTokensThatCannotBe(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for name, content := range map[string]object{
		"no scopes":            {"displayName": "x"},
		"an unknown scope":     {"scopes": []string{"mail:burn"}},
		"no form of a scope":   {"scopes": []string{"Messages"}},
		"no name of account":   {"scopes": []string{"messages:read"}, "accounts": []string{"ann"}},
		"any account":          {"scopes": []string{"messages:read"}, "accounts": []string{"accounts/-"}},
		"an account twice":     {"scopes": []string{"messages:read"}, "accounts": []string{"accounts/a", "accounts/a"}},
		"no key of a label":    {"scopes": []string{"messages:read"}, "accountLabels": object{"Team": "x"}},
		"a past expiry":        {"scopes": []string{"messages:read"}, "expireTime": "2020-01-01T00:00:00Z"},
		"a long name":          {"scopes": []string{"messages:read"}, "displayName": strings.Repeat("x", 201)},
		"an unknown parameter": {"scopes": []string{"messages:read"}, "mayAll": true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := h.do(t, http.MethodPost, "/v1/tokens", content); a.status != http.StatusBadRequest {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
}

// The same request gives the same token to whoever made it, and to nobody else.
func TestTokenRequestID(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	id, content := freshID(), object{"displayName": "x", "scopes": []string{"messages:read"}}
	made := h.do(t, http.MethodPost, "/v1/tokens", content, "Idempotency-Key", id).ok(t)
	again := h.do(t, http.MethodPost, "/v1/tokens", content, "Idempotency-Key", id).ok(t)
	if made["token"] != again["token"] || made["name"] != again["name"] {
		t.Errorf("made %v, then %v", made["name"], again["name"])
	}
	h.do(t, http.MethodPost, "/v1/tokens", object{"scopes": []string{"events:read"}}, "Idempotency-Key", id).
		refused(t, http.StatusBadRequest, "REQUEST_ID_REUSED")
	other := h.admin().makes(t, object{"scopes": []string{"admin"}})
	theirs := other.asks(t, http.MethodPost, "/v1/tokens", content, "Idempotency-Key", id).ok(t)
	if theirs["token"] == made["token"] || theirs["name"] == made["name"] {
		t.Error("somebody else got the token by the id of the request")
	}
	h.do(t, http.MethodPost, "/v1/"+made["name"].(string)+":revoke", object{}).ok(t)
	h.do(t, http.MethodPost, "/v1/tokens", content, "Idempotency-Key", id).refused(t, http.StatusBadRequest, "REQUEST_ID_REUSED")
}

func TestListTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	var want []string
	for i := range 5 {
		made := h.admin().makes(t, object{"displayName": fmt.Sprint(i), "scopes": []string{"messages:read"}})
		if i == 2 {
			h.do(t, http.MethodPost, "/v1/"+made.name+":revoke", object{}).ok(t)
		}
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	read := func(query ...string) (got []string) {
		for page := ""; ; {
			o := h.get(t, "/v1/tokens"+values(append(query, "pageToken", page)...))
			for _, k := range list(o, "tokens") {
				got = append(got, k["displayName"].(string))
			}
			if page = o["nextPageToken"].(string); page == "" {
				return got
			}
		}
	}
	for _, size := range []string{"1", "2", "5", "0"} {
		if got := read("pageSize", size); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("by pages of %s: %v", size, got)
		}
	}
	if got := read("state", "REVOKED"); fmt.Sprint(got) != "[2]" {
		t.Errorf("revoked are %v", got)
	}
	if got := read("state", "ACTIVE", "pageSize", "2"); fmt.Sprint(got) != "[4 3 1 0]" {
		t.Errorf("active are %v", got)
	}
}

// Nobody gets more by making, or changing, a token than they have.
func TestTokensDoNotEscalate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	admin := h.admin()
	scopes := []string{"tokens:admin", "messages:read"}
	soon, later := time.Now().Add(time.Hour).Format(time.RFC3339Nano), time.Now().Add(2*time.Hour).Format(time.RFC3339Nano)
	free := admin.makes(t, object{"scopes": scopes})
	bound := admin.makes(t, object{"scopes": scopes, "accounts": []string{"accounts/ann", "accounts/bob"}})
	labelled := admin.makes(t, object{"scopes": scopes, "accountLabels": object{"team": "sales"}})
	expiring := admin.makes(t, object{"scopes": scopes, "expireTime": soon})
	read := []string{"messages:read"}
	cases := map[string]struct {
		by      holder
		content object
		refused string // the reason, empty where it may be
	}{
		"the same":                       {free, object{"scopes": scopes}, ""},
		"a scope more":                   {free, object{"scopes": []string{"messages:write"}}, "SCOPE_MISSING"},
		"all scopes":                     {free, object{"scopes": []string{"admin"}}, "SCOPE_MISSING"},
		"bound by the free":              {free, object{"scopes": read, "accounts": []string{"accounts/zed"}}, ""},
		"some of its accounts":           {bound, object{"scopes": read, "accounts": []string{"accounts/bob"}}, ""},
		"another account":                {bound, object{"scopes": read, "accounts": []string{"accounts/bob", "accounts/zed"}}, "GRANT_EXCEEDED"},
		"all accounts":                   {bound, object{"scopes": read}, "GRANT_EXCEEDED"},
		"a label beside":                 {bound, object{"scopes": read, "accounts": []string{"accounts/ann"}, "accountLabels": object{"x": "y"}}, "GRANT_EXCEEDED"},
		"its labels and more":            {labelled, object{"scopes": read, "accountLabels": object{"team": "sales", "x": "y"}}, ""},
		"other labels":                   {labelled, object{"scopes": read, "accountLabels": object{"team": "law"}}, "GRANT_EXCEEDED"},
		"fewer labels":                   {labelled, object{"scopes": read, "accountLabels": object{"x": "y"}}, "GRANT_EXCEEDED"},
		"an account instead of labels":   {labelled, object{"scopes": read, "accounts": []string{"accounts/ann"}}, "GRANT_EXCEEDED"},
		"as long":                        {expiring, object{"scopes": read, "expireTime": soon}, ""},
		"longer":                         {expiring, object{"scopes": read, "expireTime": later}, "GRANT_EXCEEDED"},
		"for ever by one that is not so": {expiring, object{"scopes": read}, "GRANT_EXCEEDED"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := c.by.asks(t, http.MethodPost, "/v1/tokens", c.content)
			if c.refused == "" {
				a.ok(t)
			} else {
				a.refused(t, http.StatusForbidden, c.refused)
			}
			// Changing a token that is theirs into that one, or itself.
			own := object{"scopes": read, "accounts": []string{"accounts/ann"}, "accountLabels": object{}}
			if c.by.name == labelled.name {
				own["accounts"], own["accountLabels"] = []string{}, object{"team": "sales", "own": "yes"}
			}
			if c.by.name == expiring.name {
				own["expireTime"] = soon
			}
			target := c.by.makes(t, own)
			const mask = "?updateMask=scopes,accounts,accountLabels,expireTime"
			a = c.by.asks(t, http.MethodPatch, "/v1/"+target.name+mask, c.content)
			if c.refused == "" {
				a.ok(t)
				return
			}
			a.refused(t, http.StatusForbidden, c.refused)
			c.by.asks(t, http.MethodPatch, "/v1/"+c.by.name+mask, c.content).refused(t, http.StatusForbidden, c.refused)
		})
	}
}

// A token that may do more than the caller does not exist for it.
func TestTokensOfOthersAreNotThere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	admin := h.admin()
	scopes := []string{"tokens:admin", "messages:read"}
	bound := admin.makes(t, object{"scopes": scopes, "accounts": []string{"accounts/ann"}})
	mine := bound.makes(t, object{"scopes": []string{"messages:read"}, "accounts": []string{"accounts/ann"}})
	others := []holder{
		admin.makes(t, object{"scopes": []string{"messages:read"}, "accounts": []string{"accounts/bob"}}),
		admin.makes(t, object{"scopes": []string{"messages:read"}}),
		admin.makes(t, object{"scopes": []string{"messages:write"}, "accounts": []string{"accounts/ann"}}),
	}
	missing := func(method, path string, body any) string {
		return string(bound.asks(t, method, path, body, "X-Request-Id", "x").body)
	}
	for _, other := range others {
		for _, call := range []struct {
			method, suffix string
			body           any
		}{{"GET", "", nil}, {"PATCH", "", object{"displayName": "mine"}}, {"POST", ":revoke", object{}}, {"DELETE", "", nil}} {
			a := bound.asks(t, call.method, "/v1/"+other.name+call.suffix, call.body, "X-Request-Id", "x")
			a.refused(t, http.StatusNotFound, "TOKEN_NOT_FOUND")
			if want := missing(call.method, "/v1/tokens/abcdefghijklmnop"+call.suffix, call.body); string(a.body) != want {
				t.Errorf("%s tells them apart: %s and %s", call.method, a.body, want)
			}
		}
		other.asks(t, http.MethodGet, "/v1/tokens:whoami", nil).ok(t)
	}
	got := map[string]bool{}
	for _, k := range list(bound.asks(t, http.MethodGet, "/v1/tokens", nil).ok(t), "tokens") {
		got[k["name"].(string)] = true
	}
	if len(got) != 2 || !got[mine.name] || !got[bound.name] {
		t.Errorf("it sees %v", got)
	}
	bound.asks(t, http.MethodPost, "/v1/"+mine.name+":revoke", object{}).ok(t)
}

func TestTokensOverGRPC(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	client := posternv1.NewTokenServiceClient(h.grpc)
	made, err := client.CreateToken(asAdmin(t.Context()), &posternv1.CreateTokenRequest{Token: &posternv1.Token{
		Scopes: []string{"events:read"}, ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := holder{house: h, name: made.GetName(), text: made.GetToken()}
	me, err := client.WhoAmI(c.ctx(t), &posternv1.WhoAmIRequest{})
	if err != nil || me.GetPrincipal() != made.GetName() || me.GetExpireTime() == nil {
		t.Errorf("it is %v, %v", me, err)
	}
	_, err = client.ListTokens(c.ctx(t), &posternv1.ListTokensRequest{})
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || reasonOf(s) != "SCOPE_MISSING" {
		t.Errorf("without the scope: %v", err)
	}
	if _, err := client.DeleteToken(asAdmin(t.Context()), &posternv1.DeleteTokenRequest{Name: made.GetName()}); err != nil {
		t.Error(err)
	}
	_, err = client.WhoAmI(c.ctx(t), &posternv1.WhoAmIRequest{})
	if s := status.Convert(err); s.Code() != codes.Unauthenticated || reasonOf(s) != "TOKEN_INVALID" {
		t.Errorf("after its end: %v", err)
	}
}
