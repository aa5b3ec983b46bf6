package gateway_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/sandbox"
)

// corpusMail is a message of the corpus of internal/message.
func corpusMail(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../internal/message/testdata/corpus/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// lines is a message written in lines that end in LF.
func lines(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }

// delivered puts a message into a fresh mailbox and gives its name.
func (h *house) delivered(t testing.TB, raw []byte) string {
	t.Helper()
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", raw)
	return h.newest(t, account)
}

// at walks into a JSON value: object fields by name, list items by number.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			o, _ := v.(object)
			v = o[step]
		case int:
			items, _ := v.([]any)
			if step >= len(items) {
				return nil
			}
			v = items[step]
		}
	}
	return v
}

// TestReadingByBothWays reads the whole corpus by REST and by gRPC, which have
// to agree.
func TestReadingByBothWays(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	files, err := os.ReadDir("../internal/message/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		server.Deliver(t, user, "INBOX", corpusMail(t, strings.TrimSuffix(f.Name(), ".eml")))
	}
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	client := posternv1.NewMessageServiceClient(h.grpc)
	all := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox, "pageSize", "500")), "messages")
	if len(all) != len(files) {
		t.Fatalf("%d messages of %d", len(all), len(files))
	}
	for _, listed := range all {
		name := listed["name"].(string)
		rest := h.do(t, http.MethodGet, "/v1/"+name+"?sanitizeHtml=true", nil)
		rest.ok(t)
		got := &posternv1.Message{}
		if err := protojson.Unmarshal(rest.body, got); err != nil {
			t.Fatal(err)
		}
		byGRPC, err := client.GetMessage(asAdmin(t.Context()), &posternv1.GetMessageRequest{Name: name, SanitizeHtml: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(byGRPC, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-gRPC +REST):\n%s", got.GetSubject(), diff)
		}
		// What a list shows is what the message says, but where the server finds
		// no text and the message had to be read whole.
		lost := slices.Contains(got.GetDefects(), "BOUNDARY_MISSING") || got.GetSubject() == "types"
		if got.GetSnippet() != listed["snippet"] && !lost || got.GetSubject() != listed["subject"] {
			t.Errorf("%q: snippet %q, in the list %q and %q", got.GetSubject(), got.GetSnippet(), listed["subject"], listed["snippet"])
		}
		if strings.ContainsRune(got.GetSnippet(), '\uFFFD') {
			t.Errorf("%s: snippet %q", got.GetSubject(), got.GetSnippet())
		}
	}
}

// Servers that do not know a charset make nonsense of a preview, and say nothing
// of a multipart whose delimiter they do not find.
func TestSnippetAgainstPreview(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for name, want := range map[string]string{
		"korean-ks_c_5601-1987":       "안녕하세요. 똠방각하입니다.",
		"utf-7":                       "Preis: 5 €, 2 + 2, 😀",
		"mac-roman":                   "Café déjà vu",
		"japanese-undeclared-jis":     "文字コードの宣言がありません。",
		"html-meta-charset":           "Привет, мир",
		"charset-lies-utf8-is-latin1": "Café au lait",
		"hebrew-iso-8859-8-i":         "שלום עולם",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := h.delivered(t, corpusMail(t, name))
			account, _, _ := strings.Cut(message, "/messages/")
			for _, got := range []any{
				at(h.get(t, "/v1/"+account+"/messages"), "messages", 0, "snippet"),
				at(h.get(t, "/v1/"+account+"/messages?readMask=snippet"), "messages", 0, "snippet"),
				h.get(t, "/v1/"+message)["snippet"],
				h.get(t, "/v1/"+message+"?view=METADATA")["snippet"],
				h.get(t, "/v1/"+message+"?bodyForm=HTML")["snippet"],
			} {
				if got != want {
					t.Errorf("snippet %q, want %q", got, want)
				}
			}
		})
	}
}

// The sandbox has no PREVIEW at all.
func TestSnippetWithoutPreview(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account := h.register(t, shared.sandbox.Host(), shared.sandbox.Port(), sandbox.Username, sandbox.Password)
	for _, m := range list(h.get(t, "/v1/"+account+"/messages"), "messages") {
		alone := h.get(t, "/v1/"+m["name"].(string))
		if m["snippet"] == "" || m["snippet"] != alone["snippet"] {
			t.Errorf("%s: snippet %q in the list, %q alone", m["subject"], m["snippet"], alone["snippet"])
		}
	}
}

// TestReadingParts reads messages of the corpus and looks at what programs say in
// them.
func TestReadingParts(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	tests := []struct {
		sample string
		path   []any
		want   any
	}{
		{"dsn-postfix", []any{"deliveryReport", "reportingMta"}, "mx.example.com"},
		{"dsn-postfix", []any{"deliveryReport", "arrivalTime"}, "2026-11-23T09:15:00Z"},
		{"dsn-postfix", []any{"deliveryReport", "recipients", 0, "status"}, "5.1.1"},
		{"dsn-postfix", []any{"deliveryReport", "recipients", 0, "diagnostic"}, "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown"},
		{"dsn-postfix", []any{"deliveryReport", "recipients", 1, "action"}, "delayed"},
		{"dsn-postfix", []any{"deliveryReport", "original", "messageId"}, "lost@example.com"},
		{"dsn-postfix", []any{"attachments", 0, "kind"}, "REPORT"},
		{"abuse-report", []any{"abuseReport", "feedbackType"}, "abuse"},
		{"abuse-report", []any{"abuseReport", "originalRcptTo", 0}, "user@isp.example"},
		{"abuse-report", []any{"abuseReport", "original", "subject"}, "buy"},
		{"read-receipt", []any{"readReceipt", "originalMessageId"}, "a1@mail.example.com"},
		{"read-receipt", []any{"readReceipt", "disposition"}, "displayed"},
		{"exchange-invitation", []any{"calendar", "method"}, "REQUEST"},
		{"exchange-invitation", []any{"calendar", "summary"}, "Budget, second round"},
		{"exchange-invitation", []any{"calendar", "start", "time"}, "2026-11-24T13:00:00Z"},
		{"exchange-invitation", []any{"calendar", "end", "timeZone"}, "W. Europe Standard Time"},
		{"exchange-invitation", []any{"calendar", "organizer", "address"}, "ann@contoso.example"},
		{"exchange-invitation", []any{"calendar", "attendees", 0, "status"}, "NEEDS-ACTION"},
		{"exchange-invitation", []any{"attachments", 0, "kind"}, "CALENDAR"},
		{"mutt-pgp-signed", []any{"security", "scheme"}, "OPENPGP"},
		{"mutt-pgp-signed", []any{"security", "signed"}, true},
		{"pgp-encrypted", []any{"security", "encrypted"}, true},
		{"smime-opaque", []any{"security", "scheme"}, "SMIME"},
		{"plain-ascii", []any{"security"}, nil},
		{"exchange-tnef", []any{"attachments", 0, "kind"}, "TNEF"},
		{"forward-as-attachment", []any{"attachments", 0, "message", "subject"}, "original"},
		{"forward-as-attachment", []any{"attachments", 0, "message", "parts", 1, "filename"}, "p.png"},
		{"bad-boundary-never-occurs", []any{"defects", 0}, "BOUNDARY_MISSING"},
		{"bad-no-boundary", []any{"body", "text"}, "--x\nContent-Type: text/plain\n\nno boundary parameter\n--x--\n"},
		{"address-zoo", []any{"to", 0, "group"}, "Friends"},
	}
	messages := make(map[string]object)
	for _, tt := range tests {
		if messages[tt.sample] == nil {
			messages[tt.sample] = h.get(t, "/v1/"+h.delivered(t, corpusMail(t, tt.sample)))
		}
		if got := at(messages[tt.sample], tt.path...); got != tt.want {
			t.Errorf("%s: %v is %v, want %v", tt.sample, tt.path, got, tt.want)
		}
	}
	// The parts of a message within a message can be downloaded.
	nested := at(messages["forward-as-attachment"], "attachments", 0, "message", "parts", 0, "name").(string)
	if a := h.do(t, http.MethodGet, "/v1/"+nested+":download", nil); strings.TrimSpace(string(a.body)) != "Look at it." && a.status != http.StatusOK {
		t.Errorf("status %d: %q", a.status, a.body)
	}
}

func TestReadingHeaders(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	got := h.get(t, "/v1/"+h.delivered(t, lines(`Authentication-Results: mx.example.com; spf=pass (ok) smtp.mailfrom=ann@example.com;
 dkim=fail reason="bad signature" header.d=example.com; dmarc=none
Authentication-Results: evil.example; spf=pass
From: Ann <ann@example.com>, Bob <bob@example.com>
Sender: ann@example.com
To: Friends: carl@example.com, "D, D" <d@example.com>;
Subject: both

-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Hello
`)))
	for _, tt := range []struct {
		path []any
		want any
	}{
		{[]any{"from", "address"}, "ann@example.com"},
		{[]any{"authors", 1, "address"}, "bob@example.com"},
		{[]any{"to", 1, "group"}, "Friends"},
		{[]any{"to", 1, "name"}, "D, D"},
		{[]any{"authentication", 0, "authservId"}, "mx.example.com"},
		{[]any{"authentication", 0, "results", 0, "result"}, "pass"},
		{[]any{"authentication", 0, "results", 0, "properties", "smtp.mailfrom"}, "ann@example.com"},
		{[]any{"authentication", 0, "results", 1, "reason"}, "bad signature"},
		{[]any{"authentication", 1, "authservId"}, "evil.example"},
		{[]any{"security", "signed"}, true},
	} {
		if v := at(got, tt.path...); v != tt.want {
			t.Errorf("%v is %v, want %v", tt.path, v, tt.want)
		}
	}
}

func TestSanitizedHTML(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name := h.delivered(t, lines(`Subject: html
MIME-Version: 1.0
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=utf-8

<script>alert(1)</script><p onclick="x">Hi</p><img src="cid:logo@example.com"><img src="https://example.com/p.gif"><a href="https://example.com">x</a>
--r
Content-Type: image/png
Content-ID: <logo@example.com>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--r--
`))
	body := h.get(t, "/v1/"+name)["body"].(object)
	if body["sanitizedHtml"] != "" || body["remoteImages"] != false {
		t.Errorf("not asked for: %v", body)
	}
	path := "/v1/" + name + "/attachments/2:download"
	const link = `<a href="https://example.com" target="_blank" rel="noopener noreferrer nofollow">x</a>`
	safe := h.get(t, "/v1/"+name+"?sanitizeHtml=true&bodyForm=TEXT")["body"].(object)
	if want := `<p>Hi</p><img src="` + path + `"><img src="https://example.com/p.gif">` + link; strings.TrimSpace(safe["sanitizedHtml"].(string)) != want ||
		safe["remoteImages"] != true || safe["html"] != "" || safe["text"] == "" {
		t.Errorf("got  %v\nwant %s", safe, want)
	}
	if a := h.do(t, http.MethodGet, path, nil); a.status != http.StatusOK || a.header.Get("Content-Type") != "image/png" {
		t.Errorf("the image: status %d, %v", a.status, a.header)
	}
	blocked := h.get(t, "/v1/"+name+"?sanitizeHtml=true&blockRemoteImages=true&readMask=body.sanitizedHtml")["body"].(object)
	if want := `<p>Hi</p><img src="` + path + `"><img>` + link; strings.TrimSpace(blocked["sanitizedHtml"].(string)) != want || blocked["text"] != "" {
		t.Errorf("got  %v\nwant %s", blocked, want)
	}
	if got := h.get(t, "/v1/"+name+"?sanitizeHtml=true&readMask=body.remoteImages")["body"].(object); got["remoteImages"] != true || got["sanitizedHtml"] != "" {
		t.Errorf("only whether there are any: %v", got)
	}
	h.do(t, http.MethodGet, "/v1/"+name+"?blockRemoteImages=true", nil).refused(t, 400, "ARGUMENT_INVALID")
}

// TestReadingMasked asks for single fields: what a mask leaves out is not
// fetched, and what it names is there all the same.
func TestReadingMasked(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	name := h.delivered(t, corpusMail(t, "exchange-invitation"))
	account, _, _ := strings.Cut(name, "/messages/")
	whole := h.get(t, "/v1/"+name)
	listed := at(h.get(t, "/v1/"+account+"/messages"), "messages", 0).(object)
	fields := (&posternv1.Message{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i).JSONName()
		if got := h.get(t, "/v1/"+name+"?readMask="+field)[field]; !cmp.Equal(got, whole[field]) {
			t.Errorf("%s alone is %v, want %v", field, got, whole[field])
		}
		if got := at(h.get(t, "/v1/"+account+"/messages?readMask="+field), "messages", 0, field); !cmp.Equal(got, listed[field]) {
			t.Errorf("%s alone in a list is %v, want %v", field, got, listed[field])
		}
	}
}
