package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/sandbox"
)

// secretWord stands for every secret that a test hands in. It must never come
// back, nor be logged.
const secretWord = "S3cr3t-never-to-be-seen"

func newAccount(email string) object {
	return object{
		"email": email, "displayName": "Ann", "labels": object{"team": "sales"},
		"imap": object{"host": "imap.example.com", "port": 993, "tlsMode": "TLS", "username": "ann", "password": secretWord},
		"smtp": object{"host": "smtp.example.com", "port": 465},
	}
}

func TestCreateAccount(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	id := freshID()
	a := h.do(t, http.MethodPost, "/v1/accounts?accountId="+id, newAccount("ann@example.com"))
	got := a.ok(t)
	imap := got["imap"].(object)
	if got["name"] != "accounts/"+id || got["email"] != "ann@example.com" || got["state"] != "CONNECTING" ||
		imap["host"] != "imap.example.com" || imap["auth"] != "PASSWORD" || got["etag"] == "" {
		t.Errorf("created %s", a.body)
	}
	if !strings.Contains(string(a.body), `"stateDetail"`) {
		t.Errorf("unpopulated fields are left out: %s", a.body)
	}
	again := h.do(t, http.MethodGet, "/v1/accounts/"+id, nil)
	for _, text := range []string{string(a.body), string(again.body), h.logged.String()} {
		if strings.Contains(text, secretWord) {
			t.Fatalf("the password shows in %s", text)
		}
	}
	h.do(t, http.MethodPost, "/v1/accounts?accountId="+id, newAccount("ann@example.com")).refused(t, 409, "ACCOUNT_EXISTS")
	generated := h.do(t, http.MethodPost, "/v1/accounts", newAccount("ann@example.com")).ok(t)
	if name := generated["name"].(string); len(name) < len("accounts/")+8 {
		t.Errorf("generated %q", name)
	}
}

func TestCreateAccountRefused(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	edit := func(path string, value any) object {
		a := newAccount("ann@example.com")
		target := a
		if server, field, ok := strings.Cut(path, "."); ok {
			target, path = a[server].(object), field
		}
		target[path] = value
		return a
	}
	for name, tt := range map[string]struct {
		query string
		body  any
		field string
	}{
		"no address":     {"", edit("email", ""), "account"},
		"not an address": {"", edit("email", "ann"), "account.email"},
		"no host":        {"", edit("imap.host", ""), "account"},
		"port":           {"", edit("imap.port", 70000), "account.imap.port"},
		"password lines": {"", edit("imap.password", "a\r\nb"), "account.imap.password"},
		"no credential":  {"", edit("imap.password", ""), "account"},
		"label":          {"", edit("labels", object{"Team!": "x"}), "account.labels"},
		"id":             {"?accountId=-x", newAccount("ann@example.com"), "account_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := h.do(t, http.MethodPost, "/v1/accounts"+tt.query, tt.body)
			a.refused(t, 400, "ARGUMENT_INVALID")
			if !strings.Contains(string(a.body), `"field":"`+tt.field) && !strings.Contains(string(a.body), `"field": "`+tt.field) {
				t.Errorf("no violation of %s: %s", tt.field, a.body)
			}
		})
	}
	for name, body := range map[string]string{
		"unknown field":       `{"email":"a@example.com","imapp":{}}`,
		"unknown field below": `{"email":"a@example.com","imap":{"hots":"x"}}`,
		"wrong type":          `{"email":5}`,
		"not JSON":            `email=a`,
		"unknown enum":        `{"imap":{"tlsMode":"SOMETIMES"}}`,
		"a second value":      `{"email":"a@example.com"}{}`,
		"more after it":       `{"email":"a@example.com"} x`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.do(t, http.MethodPost, "/v1/accounts", body).refused(t, 400, "BODY_INVALID")
		})
	}
	t.Run("both forms of names", func(t *testing.T) {
		t.Parallel()
		a := h.do(t, http.MethodPost, "/v1/accounts", `{"email":"a@example.com","display_name":"A",
			"imap":{"host":"h.example.com","port":993,"tls_mode":"TLS","password":"x"}}`)
		if got := a.ok(t); got["displayName"] != "A" {
			t.Errorf("%s", a.body)
		}
	})
}

func TestCreateAccountOnce(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	key := freshID()
	first := h.do(t, http.MethodPost, "/v1/accounts", newAccount("ann@example.com"), "Idempotency-Key", key).ok(t)
	second := h.do(t, http.MethodPost, "/v1/accounts", newAccount("ann@example.com"), "Idempotency-Key", key).ok(t)
	if first["name"] != second["name"] {
		t.Errorf("the same key made %v and %v", first["name"], second["name"])
	}
	third := h.do(t, http.MethodPost, "/v1/accounts?requestId="+key, newAccount("ann@example.com")).ok(t)
	if first["name"] != third["name"] {
		t.Errorf("request_id %v is not the header's", third["name"])
	}
	h.do(t, http.MethodPost, "/v1/accounts", newAccount("bob@example.com"), "Idempotency-Key", key).
		refused(t, 400, "REQUEST_ID_REUSED")
	h.do(t, http.MethodPost, "/v1/accounts?requestId=other", newAccount("bob@example.com"), "Idempotency-Key", key).
		refused(t, 400, "ARGUMENT_INVALID")
}

func TestCreateAccountValidateOnly(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	id := freshID()
	path := "/v1/accounts?validateOnly=true&accountId=" + id
	if got := h.do(t, http.MethodPost, path, newAccount("ann@example.com")).ok(t); got["email"] != "ann@example.com" {
		t.Errorf("%v", got)
	}
	h.do(t, http.MethodGet, "/v1/accounts/"+id, nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.do(t, http.MethodPost, path, object{"email": "ann@example.com"}).refused(t, 400, "ARGUMENT_INVALID")
}

func TestUpdateAccount(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	created := h.do(t, http.MethodPost, "/v1/accounts?accountId="+freshID(), newAccount("ann@example.com")).ok(t)
	name := created["name"].(string)
	id := strings.TrimPrefix(name, "accounts/")
	password := func() string {
		a, err := h.accounts.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return a.IMAP.Password.Reveal()
	}

	// Without a mask, what is set: the server keeps its host and password.
	got := h.do(t, http.MethodPatch, "/v1/"+name, object{"displayName": "Ann Lee", "imap": object{"username": "ann.lee"}}).ok(t)
	imap := got["imap"].(object)
	if got["displayName"] != "Ann Lee" || imap["username"] != "ann.lee" || imap["host"] != "imap.example.com" || password() != secretWord {
		t.Errorf("patched to %v", got)
	}
	// With a mask, only what it names, in either form of the names.
	got = h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=imap.password,labels,display_name", object{
		"email": "other@example.com", "labels": object{"team": "support"}, "imap": object{"password": "new", "host": "evil.example.com"},
	}).ok(t)
	imap = got["imap"].(object)
	if got["email"] != "ann@example.com" || imap["host"] != "imap.example.com" || got["displayName"] != "" ||
		got["labels"].(object)["team"] != "support" || password() != "new" {
		t.Errorf("patched to %v", got)
	}
	// A new kind of credential takes the place of the old one.
	got = h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=imap.oauth2", object{"imap": object{"oauth2": object{
		"tokenUrl": "https://login.example.com/token", "clientId": "c", "refreshToken": secretWord,
	}}}).ok(t)
	oauth := got["imap"].(object)["oauth2"].(object)
	if got["imap"].(object)["auth"] != "OAUTH2" || oauth["clientId"] != "c" || oauth["refreshToken"] != "" || password() != "" {
		t.Errorf("patched to %v", got)
	}

	stale := created["etag"].(string)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"displayName": "x", "etag": stale}).refused(t, 409, "ETAG_MISMATCH")
	h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=colour", object{}).refused(t, 400, "ARGUMENT_INVALID")
	h.do(t, http.MethodPatch, "/v1/"+name+"?updateMask=email", object{}).refused(t, 400, "ARGUMENT_INVALID")
	h.do(t, http.MethodPatch, "/v1/accounts/nobody", object{"displayName": "x"}).refused(t, 404, "ACCOUNT_NOT_FOUND")

	h.do(t, http.MethodDelete, "/v1/"+name+"?etag="+stale, nil).refused(t, 409, "ETAG_MISMATCH")
	h.do(t, http.MethodDelete, "/v1/"+name, nil).ok(t)
	h.do(t, http.MethodDelete, "/v1/"+name, nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+name, nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
}

func TestListAccounts(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	mark := freshID()
	names := map[string]bool{}
	for i := range 7 {
		a := newAccount("ann@example.com")
		labels := object{"mark": mark}
		if i%2 == 0 {
			labels["even"] = "yes"
		}
		a["labels"] = labels
		names[h.do(t, http.MethodPost, "/v1/accounts", a).ok(t)["name"].(string)] = true
	}
	all := "labels.mark = " + mark
	var seen []string
	next := ""
	for page := 0; page == 0 || next != ""; page++ {
		o := h.get(t, "/v1/accounts"+values("filter", all, "pageSize", "3", "pageToken", next))
		for _, a := range list(o, "accounts") {
			seen = append(seen, a["name"].(string))
		}
		next = o["nextPageToken"].(string)
		if next != "" {
			h.do(t, http.MethodGet, "/v1/accounts"+values("filter", "state = ERROR", "pageToken", next), nil).
				refused(t, 400, "PAGE_TOKEN_MISMATCH")
		}
	}
	if len(seen) != len(names) {
		t.Errorf("pages have %v, want %v", seen, names)
	}
	for i, name := range seen {
		if !names[name] || i > 0 && seen[i-1] >= name {
			t.Errorf("out of place: %v", seen)
		}
	}
	for filter, want := range map[string]int{
		all + " AND labels.even = yes": 4, all + " -labels:even": 3, all + ` state = "CONNECTING"`: 7,
		all + " state != CONNECTING": 0, all + " (labels.even = no OR labels:even)": 4, all + " NOT labels.even=yes": 3,
	} {
		if got := list(h.get(t, "/v1/accounts"+values("filter", filter)), "accounts"); len(got) != want {
			t.Errorf("%s: %d accounts, want %d", filter, len(got), want)
		}
	}
	for _, filter := range []string{"state = GREEN", "email = x", "state > CONNECTED", "(state", "ann", "labels = x"} {
		h.do(t, http.MethodGet, "/v1/accounts"+values("filter", filter), nil).refused(t, 400, "FILTER_INVALID")
	}
	masked := list(h.get(t, "/v1/accounts"+values("filter", all, "readMask", "name,imap.host")), "accounts")
	if masked[0]["email"] != "" || masked[0]["imap"].(object)["host"] != "imap.example.com" || masked[0]["imap"].(object)["username"] != "" {
		t.Errorf("masked to %v", masked[0])
	}
	h.do(t, http.MethodGet, "/v1/accounts?pageToken=forged", nil).refused(t, 400, "PAGE_TOKEN_MISMATCH")
	h.do(t, http.MethodGet, "/v1/accounts?pageSize=501", nil).refused(t, 400, "ARGUMENT_INVALID")
}

func TestVerifyAccount(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	box := shared.sandbox
	server := func(port int, password string) object {
		return object{"host": box.Host(), "port": port, "tlsMode": "PLAINTEXT", "username": sandbox.Username, "password": password}
	}
	tests := []struct {
		name       string
		imap, smtp object
		want       string
		reason     string
	}{
		{"all is well", server(box.Port(), sandbox.Password), server(box.SMTPPort(), sandbox.Password),
			"DNS PASSED, TCP PASSED, TLS SKIPPED, IMAP_AUTH PASSED, CAPABILITIES PASSED, SMTP_AUTH PASSED", ""},
		{"no SMTP", server(box.Port(), sandbox.Password), nil,
			"DNS PASSED, TCP PASSED, TLS SKIPPED, IMAP_AUTH PASSED, CAPABILITIES PASSED, SMTP_AUTH SKIPPED", ""},
		{"wrong password", server(box.Port(), "wrong"), server(box.SMTPPort(), "wrong"),
			"DNS PASSED, TCP PASSED, TLS SKIPPED, IMAP_AUTH FAILED, CAPABILITIES SKIPPED, SMTP_AUTH FAILED", "IMAP_AUTH_FAILED"},
		{"nobody there", server(1, "x"), nil,
			"DNS PASSED, TCP FAILED, TLS SKIPPED, IMAP_AUTH SKIPPED, CAPABILITIES SKIPPED, SMTP_AUTH SKIPPED", "IMAP_UNAVAILABLE"},
		{"no such host", object{"host": "mail.invalid", "port": 143, "password": "x"}, nil,
			"DNS FAILED, TCP SKIPPED, TLS SKIPPED, IMAP_AUTH SKIPPED, CAPABILITIES SKIPPED, SMTP_AUTH SKIPPED", "IMAP_UNAVAILABLE"},
		{"strange certificate", object{"host": box.Host(), "port": box.TLSPort(), "password": "x"}, nil,
			"DNS PASSED, TCP PASSED, TLS FAILED, IMAP_AUTH SKIPPED, CAPABILITIES SKIPPED, SMTP_AUTH SKIPPED", "IMAP_TLS_FAILED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := object{"email": sandbox.Username, "imap": tt.imap}
			if tt.smtp != nil {
				a["smtp"] = tt.smtp
			}
			name := h.do(t, http.MethodPost, "/v1/accounts", a).ok(t)["name"].(string)
			got := h.do(t, http.MethodPost, "/v1/"+name+":verify", "{}").ok(t)
			var steps, reasons []string
			for _, s := range list(got, "steps") {
				steps = append(steps, s["check"].(string)+" "+s["outcome"].(string))
				if r := s["reason"].(string); r != "" {
					reasons = append(reasons, r)
				}
			}
			if s := strings.Join(steps, ", "); s != tt.want {
				t.Errorf("got %s\nwant %s\n%v", s, tt.want, got)
			}
			if tt.reason != "" && (len(reasons) == 0 || reasons[0] != tt.reason) || got["ok"] != (tt.reason == "") {
				t.Errorf("reasons %v, want %s; ok %v", reasons, tt.reason, got["ok"])
			}
		})
	}
	h.do(t, http.MethodPost, "/v1/accounts/nobody:verify", "{}").refused(t, 404, "ACCOUNT_NOT_FOUND")
}

// The same services answer on the gRPC listener.
func TestAccountsByGRPC(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	client := posternv1.NewAccountServiceClient(h.grpc)
	ctx := asAdmin(t.Context())
	created, err := client.CreateAccount(ctx, &posternv1.CreateAccountRequest{Account: &posternv1.Account{
		Email: "ann@example.com", Imap: &posternv1.MailServer{
			Host: "h.example.com", Port: 993, Credential: &posternv1.MailServer_Password{Password: secretWord},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if created.GetImap().GetPassword() != "" || created.GetImap().GetUsername() != "ann@example.com" {
		t.Errorf("created %v", created)
	}
	updated, err := client.UpdateAccount(ctx, &posternv1.UpdateAccountRequest{
		Account:    &posternv1.Account{Name: created.GetName(), DisplayName: "Ann", Email: "x@example.com"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if err != nil || updated.GetDisplayName() != "Ann" || updated.GetEmail() != "ann@example.com" {
		t.Errorf("updated %v, %v", updated, err)
	}
	// Without a mask an update takes what is set.
	updated, err = client.UpdateAccount(ctx, &posternv1.UpdateAccountRequest{Account: &posternv1.Account{
		Name: created.GetName(), Imap: &posternv1.MailServer{Credential: &posternv1.MailServer_Password{Password: "new"}},
	}})
	if err != nil || updated.GetImap().GetHost() != "h.example.com" || updated.GetDisplayName() != "Ann" {
		t.Errorf("updated %v, %v", updated, err)
	}
	_, err = client.GetAccount(ctx, &posternv1.GetAccountRequest{Name: "accounts/nobody"})
	wantStatus(t, err, codes.NotFound, "ACCOUNT_NOT_FOUND")
	_, err = client.GetAccount(ctx, &posternv1.GetAccountRequest{Name: "nonsense"})
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	if _, err := client.DeleteAccount(ctx, &posternv1.DeleteAccountRequest{Name: created.GetName()}); err != nil {
		t.Error(err)
	}
	if _, err := h.accounts.Get(t.Context(), strings.TrimPrefix(created.GetName(), "accounts/")); err == nil {
		t.Error("deleted and still there")
	}
}

// wantStatus checks an error as a gRPC client sees it.
func wantStatus(t testing.TB, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || reasonOf(s) != reason {
		t.Errorf("got %s %q (%v), want %s %s", s.Code(), reasonOf(s), err, code, reason)
	}
	return s
}
