package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/sandbox"
	"github.com/postern-mail/postern/internal/smtptest"
)

// canaryMail is a message of the account that most callers of the matrix do not see.
const canaryMail = "From: canary@example.com\r\nTo: ann@example.com\r\nSubject: canary\r\nMessage-ID: <canary@example.com>\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ncanary\r\n" +
	"--b\r\nContent-Type: text/plain; name=canary.txt\r\nContent-Disposition: attachment; filename=canary.txt\r\n\r\ncanary\r\n--b--\r\n"

// matrix is a gateway over the mailboxes of ann, who is in sales, and bob, who is in
// law. Nobody has the third name.
type matrix struct {
	*house
	// lent counts the connections to mail servers that were asked for.
	lent     *lentConnector
	ann, bob string
	there    target // ann's
	missing  target
	server   *sandbox.Server
	smtp     *smtptest.Server
	endpoint string
	// word is in everything that is made.
	word string
	// spare are ids of accounts to be made, which some callers are bound to: bound has
	// them and ann's.
	spare, bound []string
	// given are tokens by their grants; the other two are good no more.
	given            map[string]string
	revoked, expired string
}

// lentConnector counts what asks for a mail server.
type lentConnector struct {
	gateway.Connector
	n atomic.Int64
}

func (c *lentConnector) Do(ctx context.Context, accountID, mailbox string, opts *imapconn.DoOptions, fn func(*imapconn.Conn) error) error {
	c.n.Add(1)
	return c.Connector.Do(ctx, accountID, mailbox, opts, fn)
}

func (c *lentConnector) Verify(ctx context.Context, a *account.Account) []account.Step {
	c.n.Add(1)
	return c.Connector.Verify(ctx, a)
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{lent: &lentConnector{}, given: make(map[string]string), word: "canary", ann: freshID(), bob: freshID(), smtp: smtptest.Start(t, smtptest.Config{})}
	m.house = newHouse(t, options{gateway: func(cfg *gateway.Config) {
		m.lent.Connector = cfg.Connector
		cfg.Connector = m.lent
	}})
	var err error
	if m.server, err = sandbox.Start(t.Context(), sandbox.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.server.Close() })
	m.endpoint, _ = endpoint(t, http.StatusOK)
	for range 40 {
		m.spare = append(m.spare, freshID())
	}
	m.bound = append([]string{m.ann}, m.spare...)
	m.register(t, m.ann, "sales")
	m.word = "Bob"
	m.register(t, m.bob, "law")
	m.word = "canary"
	m.there = target{account: "accounts/" + m.ann, team: "sales", created: m.ann, binding: access.Grant{Accounts: []string{m.ann}}, cursor: m.get(t, "/v1/events:cursor")["cursor"].(string)}
	m.fill(t, &m.there)
	m.missing = m.there.with(m.ann, freshID(), m.there.webhook, "webhooks/none"+freshID(), m.there.template, "templates/none", m.there.token, "tokens/none")
	m.outdate(t)
	return m
}

// outdate makes the tokens that are good no more.
func (m *matrix) outdate(t *testing.T) {
	t.Helper()
	revoked := m.give(t, access.Everything())
	m.do(t, http.MethodPost, "/v1/"+revoked.name+":revoke", object{}).ok(t)
	soon := tokenOf(access.Everything())
	soon["expireTime"] = time.Now().Add(500 * time.Millisecond).UTC()
	expired := m.admin().makes(t, soon)
	m.revoked, m.expired = revoked.text, expired.text
	m.until(t, "/v1/"+expired.name, func(a answer) bool { return a.json(t)["state"] == "EXPIRED" })
}

func (m *matrix) register(t testing.TB, id, team string) {
	t.Helper()
	user := id + "@example.org"
	if err := m.server.AddUser(user, "secret"); err != nil {
		t.Fatal(err)
	}
	m.do(t, http.MethodPost, "/v1/accounts?accountId="+id, object{
		"email": user, "displayName": m.word, "labels": object{"team": team},
		"imap": object{"host": m.server.Host(), "port": m.server.Port(), "tlsMode": "PLAINTEXT", "username": user, "password": "secret"},
		"smtp": object{"host": m.smtp.Host, "port": m.smtp.Port, "tlsMode": "PLAINTEXT", "username": smtptest.Username, "password": smtptest.Password},
	}).ok(t)
}

// fill puts one of everything into an account.
func (m *matrix) fill(t testing.TB, x *target) {
	t.Helper()
	for _, what := range []string{"folder", "message", "draft", "submission", "block", "webhook", "template", "token"} {
		m.renew(t, x, what)
	}
	x.thread = list(m.get(t, "/v1/"+x.account+"/threads"), "threads")[0]["name"].(string)
	m.pen(t, x.account).write(m.word)
}

// renew puts something new in the place of what a call uses up.
func (m *matrix) renew(t testing.TB, x *target, what string) {
	t.Helper()
	made := func(path string, body any, header ...string) string {
		return m.do(t, http.MethodPost, "/v1/"+path, body, header...).ok(t)["name"].(string)
	}
	switch what {
	case "account":
		id := m.spare[0]
		m.spare = m.spare[1:]
		m.register(t, id, "sales")
		x.account = "accounts/" + id
	case "folder":
		x.folder = made(x.account+"/folders", object{"path": []string{m.word + " " + freshID()}})
	case "message":
		x.message = made(x.account+"/messages:import"+values("folder", m.folderNamed(t, x.account, "INBOX")["name"].(string)), strings.ReplaceAll(canaryMail, "canary", m.word), "Content-Type", "message/rfc822")
		x.attachment = list(m.get(t, "/v1/"+x.message), "attachments")[0]["name"].(string)
	case "draft":
		x.draft = made(x.account+"/drafts", object{"to": to("bob@example.com"), "subject": m.word, "text": m.word})
	case "submission":
		x.submission = made(x.account+"/submissions", object{"to": to("bob@example.com"), "subject": m.word, "text": "x", "sendTime": time.Now().Add(time.Hour).UTC()})
	case "block":
		x.block = made(x.account+"/blocks", object{"address": m.word + freshID() + "@example.com"})
	case "webhook":
		x.webhook = made("webhooks", object{
			"url": m.endpoint, "displayName": m.word, "accounts": []string{x.account}, "accountLabels": x.labels(), "payload": "THIN",
			"types": []string{"submission.sent"},
		})
	case "token":
		grant := x.binding
		grant.Scopes = scopes(access.TokensAdmin)
		token := tokenOf(grant)
		token["displayName"] = m.word
		x.token = made("tokens", token)
	case "template":
		x.template = made("templates", object{"subject": "x", "text": "x"})
	}
}

// everything is all that a caller could change, as it is.
func (m *matrix) everything(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"accounts", m.there.account + "/folders", m.there.account + "/drafts", m.there.account + "/submissions",
		m.there.account + "/blocks", "templates", "webhooks", "accounts/-/events", m.there.token,
	} {
		a := m.do(t, http.MethodGet, "/v1/"+path, nil)
		a.ok(t)
		fmt.Fprintf(&all, "%s: %s\n", path, a.body)
	}
	for _, message := range list(m.get(t, "/v1/"+m.there.account+"/messages?pageSize=500"), "messages") {
		flags := message["flags"].([]any) // in no order
		slices.SortFunc(flags, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		fmt.Fprintln(&all, message["name"], flags)
	}
	return all.String()
}

// methods are those of the contract, by service and name.
func methods(t testing.TB) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	all := make(map[string]protoreflect.MethodDescriptor)
	protoregistry.GlobalFiles.RangeFilesByPackage("postern.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				all[string(service.Name())+"/"+string(service.Methods().Get(j).Name())] = service.Methods().Get(j)
			}
		}
		return true
	})
	for name := range all {
		if _, ok := rows[name]; !ok {
			t.Errorf("the matrix has no row for %s", name)
		}
	}
	for name := range rows {
		if all[name] == nil {
			t.Errorf("there is no method %s", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// allows reports whether some scopes are enough for a row.
func (r row) allows(has ...access.Scope) bool {
	if r.anybody {
		return true
	}
	held := func(s access.Scope) bool {
		return slices.ContainsFunc(has, func(h access.Scope) bool { return h.Holds(s) })
	}
	return slices.ContainsFunc(r.needs, held) && !slices.ContainsFunc(r.also, func(s access.Scope) bool { return !held(s) })
}

func (r row) requests(x target) []proto.Message {
	return append([]proto.Message{r.request(x)}, r.more...)
}

// TestMatrix makes every call of the contract as every kind of caller, by gRPC, by
// REST and by the routes that are written by hand.
func TestMatrix(t *testing.T) {
	t.Parallel()
	m, all := newMatrix(t), methods(t)
	fronts := map[string]front{"gRPC": grpcFront{m.house}, "REST": restFront{m.house}}
	each := func(who string, do func(t *testing.T, f front, method protoreflect.MethodDescriptor, r row)) {
		for name, method := range all {
			for way, f := range fronts {
				if way == "REST" && grpcOnly[method.Name()] {
					continue
				}
				t.Run(who+"/"+name+"/"+way, func(t *testing.T) { do(t, f, method, rows[name]) })
			}
		}
	}
	before := m.everything(t)
	m.lent.n.Store(0)
	each("who is nobody", m.nobody)
	each("who may do other things", m.others)
	each("who sees something else", m.strangers)
	if n := m.lent.n.Load(); n != 0 {
		t.Errorf("%d calls that were refused asked for a mail server", n)
	}
	if after := m.everything(t); after != before {
		t.Errorf("calls that were refused have changed something:\n%s\nwas\n%s", after, before)
	}
	each("who has one scope", m.single)
	each("who may", m.allowed)
}

// token is the header of a caller with a grant, the same for the same grant.
func (m *matrix) token(t testing.TB, grant access.Grant) string {
	t.Helper()
	key := fmt.Sprint(grant)
	if m.given[key] == "" {
		m.given[key] = m.give(t, grant).text
	}
	return "Bearer " + m.given[key]
}

// nobody has no token, or none that is good.
func (m *matrix) nobody(t *testing.T, f front, method protoreflect.MethodDescriptor, r row) {
	for kind, header := range map[string]string{
		"none": "", "another scheme": "Basic YTpi", "no token": "Bearer", "an empty token": "Bearer ", "garbage": "Bearer garbage",
		"a list": "Bearer " + token + ", Bearer x", "cut short": "Bearer " + token[1:],
		"revoked": "Bearer " + m.revoked, "expired": "Bearer " + m.expired, "an API token cut short": m.token(t, access.Everything())[:60],
	} {
		if got := f.call(t, method, header, r.requests(m.there)); got.reason != "Unauthenticated TOKEN_INVALID" {
			t.Errorf("%s: %q", kind, got.reason)
		}
	}
}

// others have all scopes that the method does not need.
func (m *matrix) others(t *testing.T, f front, method protoreflect.MethodDescriptor, r row) {
	var rest, reads []access.Scope
	for _, s := range access.Scopes() {
		if !r.allows(append(slices.Clone(rest), s)...) {
			rest = append(rest, s)
		}
		if strings.HasSuffix(string(s), ":read") {
			reads = append(reads, s)
		}
	}
	grants := map[string]access.Grant{"all other scopes": {Scopes: rest}, "all other scopes, bound": {Scopes: rest, Accounts: []string{m.ann}}}
	if !r.allows(reads...) {
		grants["reading everything"] = access.Grant{Scopes: reads}
	}
	for kind, grant := range grants {
		if r.anybody {
			continue
		}
		if got := f.call(t, method, m.token(t, grant), r.requests(m.there)); got.reason != "PermissionDenied SCOPE_MISSING" {
			t.Errorf("%s: %q", kind, got.reason)
		}
	}
}

// strangers have every scope, and do not see ann's account. To them it is as if there
// were none.
func (m *matrix) strangers(t *testing.T, f front, method protoreflect.MethodDescriptor, r row) {
	for kind, grant := range map[string]access.Grant{
		"bound to bob":               {Scopes: allScopes(), Accounts: []string{m.bob}},
		"bound to law":               {Scopes: allScopes(), Labels: map[string]string{"team": "law"}},
		"admin for bob":              {Scopes: []access.Scope{access.Admin}, Accounts: []string{m.bob}},
		"admin for bob and law":      {Scopes: []access.Scope{access.Admin}, Accounts: []string{m.bob}, Labels: map[string]string{"team": "law"}},
		"bound to what there is not": {Scopes: allScopes(), Accounts: []string{"nowhere"}},
	} {
		who := m.token(t, grant)
		if r.unbound {
			want := "PermissionDenied GRANT_EXCEEDED"
			if !r.allows(grant.Scopes...) {
				want = "PermissionDenied SCOPE_MISSING"
			}
			if got := f.call(t, method, who, r.requests(m.there)); got.reason != want {
				t.Errorf("%s: %q", kind, got.reason)
			}
			continue
		}
		hidden, missing := f.call(t, method, who, r.requests(m.there)), f.call(t, method, who, r.requests(m.missing))
		if strings.Contains(hidden.answer, "canary") {
			t.Errorf("%s: something of the account is in the answer: %q", kind, hidden.answer)
		}
		if encoded(t, r.request(m.there)) == encoded(t, r.request(m.missing)) { // it names nothing
			if strings.Contains(hidden.answer, m.ann) || hidden.reason != "" {
				t.Errorf("%s: %q %q", kind, hidden.reason, hidden.answer)
			}
			continue
		}
		want := strings.NewReplacer(m.missing.created, m.ann, m.missing.webhook, m.there.webhook, m.missing.token, m.there.token).Replace(missing.answer)
		if hidden.reason == "" && method.Parent().Name() == "TemplateService" { // all see templates
			continue
		}
		if hidden.answer != want || hidden.reason != missing.reason {
			t.Errorf("%s: the answer tells that it is there:\n%q\nwhere there is nothing:\n%q", kind, hidden.answer, want)
		}
		switch hidden.reason {
		case "NotFound ACCOUNT_NOT_FOUND", "NotFound WEBHOOK_NOT_FOUND", "NotFound TOKEN_NOT_FOUND", "PermissionDenied GRANT_EXCEEDED":
		default:
			t.Errorf("%s: %q", kind, hidden.reason)
		}
	}
}

// single has one scope: it is let in where the row says so.
func (m *matrix) single(t *testing.T, f front, method protoreflect.MethodDescriptor, r row) {
	for _, s := range access.Scopes() {
		x := m.missing
		if method.Name() == "CreateAccount" {
			x.created = "-" // which the rules of the proto file refuse after the scope
		}
		got := f.call(t, method, m.token(t, access.Grant{Scopes: []access.Scope{s}}), r.requests(x))
		if refused := got.reason == "PermissionDenied SCOPE_MISSING"; refused == r.allows(s) {
			t.Errorf("%s: %q", s, got.reason)
		}
	}
}

// allowed have what the method needs, and see the account.
func (m *matrix) allowed(t *testing.T, f front, method protoreflect.MethodDescriptor, r row) {
	least := append(slices.Clone(r.needs[:min(1, len(r.needs))]), r.also...)
	if r.anybody {
		least = scopes(access.TemplatesRead)
	}
	for kind, grant := range map[string]access.Grant{
		"by id": {Scopes: least, Accounts: m.bound}, "by label": {Scopes: least, Labels: map[string]string{"team": "sales"}},
		"to none": {Scopes: least}, "admin": access.Everything(),
	} {
		if r.unbound && grant.Bound() {
			continue
		}
		x := m.there
		x.binding = access.Grant{Labels: grant.Labels}
		if len(grant.Labels) == 0 {
			x.binding.Accounts = []string{m.ann}
		}
		m.renew(t, &x, r.spend)
		if x.created = ""; kind == "by id" && method.Name() == "CreateAccount" {
			x.created, m.spare = m.spare[0], m.spare[1:]
		}
		got := f.call(t, method, m.token(t, grant), r.requests(x))
		if got.reason != "" && (r.passes == "" || !strings.HasSuffix(got.reason, " "+r.passes)) {
			t.Errorf("%s: %q %q", kind, got.reason, got.answer)
		}
	}
}
