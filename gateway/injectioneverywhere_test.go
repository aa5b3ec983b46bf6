package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/postern-mail/postern/gateway"
	"github.com/postern-mail/postern/internal/access"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/hostiletest"
	"github.com/postern-mail/postern/internal/logtest"
)

// marker is in each of the hostile strings, where a command would begin.
const marker = "zz99"

// hostileTexts are what breaks IMAP, headers and logs when it gets through.
var hostileTexts = []string{
	"x\r\n" + marker + " CREATE injected\r\n", "x\n" + marker + " CREATE injected\n", "x\r" + marker + " NOOP\r", "x\x00" + marker,
	"x\" " + marker + " \"", "x\\\" " + marker, "x) (" + marker, "{4}\r\n" + marker + "\r\n", "{4+}\r\n" + marker, "x\u2028" + marker + "\u2029" + marker + "\u0085" + marker,
	"*" + marker + "% \\Deleted", "&AA0ACg-" + marker + " NOOP&AA0ACg-", "=?utf-8?q?=0D=0A " + marker + "?=", "../" + marker + "/..\x7f\x1b[31m",
	strings.Repeat(marker+" ", 4000),
}

// everywhere is a gateway with an account on a Dovecot behind a wire.
type everywhere struct {
	*house
	wire  *wire
	there target
	// changed is an account whose settings are changed, on a server of its own that
	// takes every login, by the command LOGIN.
	changed string
	logins  *wire
	// json is the log as it is written in JSON.
	json *logtest.Buffer
	// taken and refused count calls.
	taken, refused atomic.Int64
}

func newEverywhere(t *testing.T) *everywhere {
	t.Helper()
	e := &everywhere{json: &logtest.Buffer{}}
	debug := &slog.HandlerOptions{Level: slog.LevelDebug}
	e.house = newHouse(t, options{gateway: func(cfg *gateway.Config) {
		cfg.Log = slog.New(slog.NewMultiHandler(cfg.Log.Handler(), slog.NewJSONHandler(e.json, debug)))
	}})
	server := dovecottest.Shared(t)
	user, password := server.User(t)
	e.wire = openWire(t, server.Addr())
	account := e.register(t, "127.0.0.1", e.wire.port, user, password)
	open := hostiletest.Start(t, hostiletest.IMAP, hostiletest.Attack{LoginOnly: true})
	e.logins = openWire(t, net.JoinHostPort(open.Host, strconv.Itoa(open.Port)))
	e.changed = e.register(t, "127.0.0.1", e.logins.port, "ann@example.org", "sesame")
	made := func(path string, body any, header ...string) string {
		return e.do(t, http.MethodPost, "/v1/"+path, body, header...).ok(t)["name"].(string)
	}
	x := target{
		account: account, created: freshID(), folder: made(account+"/folders", object{"path": []string{"canary"}}),
		binding: access.Grant{Accounts: []string{strings.TrimPrefix(account, "accounts/")}},
		draft:   made(account+"/drafts", object{"subject": "canary", "text": "canary"}),
		block:   made(account+"/blocks", object{"address": "canary@example.com"}), submission: account + "/submissions/none",
		template: made("templates", object{"subject": "x", "text": "x"}), webhook: made("webhooks", object{"url": "http://127.0.0.1:1/", "types": []string{"submission.sent"}}),
		token: made("tokens", object{"displayName": "x", "scopes": []string{"accounts:read"}}), cursor: e.get(t, "/v1/events:cursor")["cursor"].(string),
	}
	x.message = made(account+"/messages:import"+values("folder", x.folder), canaryMail, "Content-Type", "message/rfc822")
	x.attachment = list(e.get(t, "/v1/"+x.message), "attachments")[0]["name"].(string)
	x.thread = list(e.get(t, "/v1/"+account+"/threads"+values("folder", x.folder)), "threads")[0]["name"].(string)
	e.there = x
	return e
}

// kept are calls that use something up and have strings that reach the mail server:
// what they use up is there again, or still.
var kept = []string{"FolderService/UpdateFolder", "DraftService/UpdateDraft", "WebhookService/DisableWebhook", "TokenService/GetToken", "TokenService/UpdateToken"}

// target is what a method's calls are about. What they would use up is not there.
func (e *everywhere) target(name string, r row) target {
	x := e.there
	if name == "AccountService/UpdateAccount" {
		x.account = e.changed
	}
	if r.spend == "" || slices.Contains(kept, name) {
		return x
	}
	x.account, x.folder, x.message = "accounts/none", e.there.account+"/folders/none", e.there.account+"/messages/none"
	x.draft, x.block = e.there.account+"/drafts/none", e.there.account+"/blocks/none"
	x.webhook, x.template, x.token = "webhooks/none", "templates/none", "tokens/none"
	return x
}

// place is a string field of a request: the fields that lead to it, and for a map
// whether its keys are meant.
type place struct {
	path []protoreflect.FieldDescriptor
	key  bool
}

func (p place) String() string {
	var names []string
	for _, f := range p.path {
		names = append(names, string(f.Name()))
	}
	if p.key {
		names = append(names, "key")
	}
	return strings.Join(names, ".")
}

// stringPlaces lists the string fields of a message and of all that is in it.
func stringPlaces(m protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor) []place {
	var places []place
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		path := append(slices.Clip(above), field)
		if slices.Contains(above, field) {
			continue // a message within its own kind
		}
		value := field
		if field.IsMap() {
			if field.MapKey().Kind() == protoreflect.StringKind {
				places = append(places, place{path: path, key: true})
			}
			value = field.MapValue()
		}
		switch {
		case value.Kind() == protoreflect.StringKind:
			places = append(places, place{path: path})
		case value.Message() != nil && !field.IsMap():
			places = append(places, stringPlaces(value.Message(), path)...)
		}
	}
	return places
}

// inREST reports whether a REST client can write any text there: not into the path of
// a URL, and not where it stands for something else in JSON.
func (p place) inREST() bool {
	last := p.path[len(p.path)-1]
	inPath := len(p.path) <= 2 && (last.Name() == "name" || last.Name() == "parent")
	return !inPath && last.ContainingMessage().ParentFile().Package() != "google.protobuf"
}

// set puts a text into its place.
func (p place) set(m protoreflect.Message, text string) {
	for i, field := range p.path {
		last := i == len(p.path)-1
		switch {
		case field.IsMap():
			key, value := protoreflect.ValueOfString("team").MapKey(), protoreflect.ValueOfString(text)
			if p.key {
				key, value = value.MapKey(), m.Mutable(field).Map().NewValue()
			}
			m.Mutable(field).Map().Set(key, value)
		case field.IsList() && last:
			items := m.Mutable(field).List()
			items.Truncate(0)
			items.Append(protoreflect.ValueOfString(text))
		case last:
			m.Set(field, protoreflect.ValueOfString(text))
		case field.IsList():
			items := m.Mutable(field).List()
			if items.Len() == 0 {
				items.AppendMutable()
			}
			m = items.Get(0).Message()
		default:
			m = m.Mutable(field).Message()
		}
	}
}

// toMailServers are the services whose strings reach IMAP servers. Those of the
// others, of which mail is made, are tried by TestProofNothingInjected in cmd/postern.
var toMailServers = []string{"AccountService", "FolderService", "MessageService", "ThreadService", "DraftService"}

// atOnce is all of the hostile strings but the long one in one.
var atOnce = strings.Join(hostileTexts[:len(hostileTexts)-1], "")

// texts are what is put into a place of a method's request.
func (p place) texts(method string) []string {
	service, _, _ := strings.Cut(method, "/")
	if !slices.Contains(toMailServers, service) {
		return []string{hostileTexts[0], atOnce}
	}
	all := append(slices.Clone(hostileTexts), atOnce)
	if p.path[len(p.path)-1].Name() == "filter" {
		for _, text := range hostileTexts {
			for _, form := range []string{"subject:\"%s\"", "from:%s", "flag:\"%s\"", "header.x:\"%s\"", "message_id:\"%s\"", "text:(%s)"} {
				all = append(all, fmt.Sprintf(form, text))
			}
		}
	}
	return all
}

// TestNothingIsInjectedAnywhere puts hostile strings into every string field of every
// request of the contract, by gRPC and by REST. What then goes to the mail server is
// read as a server reads it: the commands that Postern sends and no others. The log
// has one line for each of its entries, and nothing goes wrong inside.
func TestNothingIsInjectedAnywhere(t *testing.T) {
	t.Parallel()
	e := newEverywhere(t)
	all := methods(t)
	t.Run("all", func(t *testing.T) {
		for name, method := range all {
			r := rows[name]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, p := range stringPlaces(method.Input(), nil) {
					for _, text := range p.texts(name) {
						e.try(t, name, method, r, p, text)
					}
				}
			})
		}
	})
	e.importByREST(t)
	e.surrogates(t)
	commands, faults := e.wire.commands()
	logins, wrong := e.logins.commands()
	for _, fault := range append(faults, wrong...) {
		t.Error(fault)
	}
	t.Logf("%d calls taken, %d refused, %d commands, and %d around logins", e.taken.Load(), e.refused.Load(), commands, logins)
	if e.taken.Load() == 0 || e.refused.Load() == 0 || commands < 500 || logins < 20 {
		t.Error("all were treated alike, or few reached the mail server")
	}
	for _, f := range list(e.get(t, "/v1/"+e.there.account+"/folders"), "folders") {
		if path := f["path"].([]any); path[0] == "injected" {
			t.Error("a folder was made by what was injected")
		}
	}
	e.checkLog(t)
}

// try makes a call with a text in one place.
func (e *everywhere) try(t *testing.T, name string, method protoreflect.MethodDescriptor, r row, p place, text string) {
	t.Helper()
	x := e.target(name, r)
	x.created = "" // one for each
	fronts := []front{grpcFront{e.house}}
	if !method.IsStreamingClient() && !method.IsStreamingServer() && p.inREST() && (text == hostileTexts[0] || text == atOnce) {
		fronts = append(fronts, restFront{e.house})
	}
	for _, f := range fronts {
		requests := r.requests(x)
		requests[0] = proto.Clone(requests[0])
		m := requests[0].ProtoReflect()
		if mask := m.Descriptor().Fields().ByName("update_mask"); mask != nil {
			m.Clear(mask) // what is set is what changes
		}
		p.set(m, text)
		out := f.call(t, method, "Bearer "+token, requests)
		if out.reason == "" {
			e.taken.Add(1)
			if name == "AccountService/UpdateAccount" && p.path[1].Name() == "imap" { // it logs in with what was given
				e.do(t, http.MethodPost, "/v1/"+e.changed+":verify", object{}).ok(t)
			}
			continue
		}
		e.refused.Add(1)
		if strings.HasPrefix(out.reason, "Internal") || strings.HasPrefix(out.reason, "Unknown") {
			t.Errorf("%s with %.100q: %s", p, text, out.reason)
		}
	}
}

// importByREST imports messages with flags by the hand-written route.
func (e *everywhere) importByREST(t *testing.T) {
	t.Helper()
	for _, text := range hostileTexts[:len(hostileTexts)-1] { // the last is longer than a URL may be
		for _, parameter := range []string{"flags", "folder", "internalDate", "requestId"} {
			query := url.Values{"folder": {e.there.folder}}
			query.Set(parameter, text)
			a := e.do(t, http.MethodPost, "/v1/"+e.there.account+"/messages:import?"+query.Encode(), canaryMail, "Content-Type", "message/rfc822")
			if a.status >= 500 {
				t.Errorf("import with %s %q: %d %s", parameter, text, a.status, a.body)
			}
		}
	}
}

// surrogates sends halves of UTF-16 pairs, which no string has and JSON can write.
func (e *everywhere) surrogates(t *testing.T) {
	t.Helper()
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, "/folders", `{"path":["\ud800` + marker + `"]}`},
		{http.MethodPost, "/folders", `{"path":["` + marker + "\xed\xa0\x80" + `"]}`},
		{http.MethodGet, "/messages?filter=subject:%22%ED%A0%80" + marker + "%22", ""},
		{http.MethodGet, "/messages?filter=subject:%22%FF%FE" + marker + "%22", ""},
		{http.MethodPost, "/messages:batchModify", `{"names":["` + e.there.message + `"],"addFlags":["\udfff` + marker + `"]}`},
		{http.MethodPost, "/drafts", `{"subject":"\ud800\ud800","text":"\udc00","headers":[{"name":"X-A","value":"\udc00"}]}`},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if a := e.do(t, c.method, "/v1/"+e.there.account+c.path, body); a.status >= 500 {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
	}
}

// checkLog checks that no entry of the log looks like several.
func (e *everywhere) checkLog(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(e.logged.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log is %.200q", line)
		}
	}
	for line := range bytes.Lines([]byte(e.json.String())) {
		if !json.Valid(line) {
			t.Errorf("a line of the log in JSON is %.200q", line)
		}
	}
}
