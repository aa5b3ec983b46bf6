package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func TestGetMessage(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", []byte(strings.ReplaceAll(`From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>
Sender: Secretary <s@example.com>
To: a@example.com, "B, b" <b@example.com>
Reply-To: list@example.com
Subject: =?iso-8859-1?q?Gr=FC=DFe?=
Message-ID: <two@example.com>
In-Reply-To: <one@example.com>
References: <zero@example.com> <one@example.com>
Date: Mon, 2 Nov 2026 10:00:00 +0100
Received: by a
Received: by b
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe aus K=F6ln
--a
Content-Type: text/html; charset=utf-8

<p>Grüße aus <b>Köln</b></p>
--a--
--m
Content-Type: application/pdf; name="bericht.pdf"
Content-Disposition: attachment; filename*=utf-8''Bericht%20f%C3%BCr%20Ann.pdf
Content-Transfer-Encoding: base64

aGVsbG8gd29ybGQ=
--m--
`, "\n", "\r\n")))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	got := h.get(t, "/v1/"+name)
	body := got["body"].(object)
	if strings.TrimSpace(body["text"].(string)) != "Grüße aus Köln" || strings.TrimSpace(body["html"].(string)) != "<p>Grüße aus <b>Köln</b></p>" {
		t.Errorf("body: %v", body)
	}
	for field, want := range map[string]string{
		"subject": "Grüße", "messageId": "two@example.com", "snippet": "Grüße aus Köln", "date": "2026-11-02T09:00:00Z",
	} {
		if got[field] != want {
			t.Errorf("%s: %v, want %s", field, got[field], want)
		}
	}
	if from := got["from"].(object); from["name"] != "Jürgen" || from["address"] != "j@example.com" {
		t.Errorf("from: %v", from)
	}
	if s := fmt.Sprint(got["sender"], got["to"], got["replyTo"], got["references"], got["inReplyTo"]); s !=
		"map[address:s@example.com group: name:Secretary] [map[address:a@example.com group: name:] map[address:b@example.com group: name:B, b]] "+
			"[map[address:list@example.com group: name:]] [zero@example.com one@example.com] [one@example.com]" {
		t.Errorf("addresses and ids: %s", s)
	}
	attachment := list(got, "attachments")[0]
	if attachment["name"] != name+"/attachments/2" || attachment["filename"] != "Bericht für Ann.pdf" ||
		attachment["contentType"] != "application/pdf" || attachment["disposition"] != "attachment" {
		t.Errorf("attachment: %v", attachment)
	}
	received := 0
	for _, header := range list(got, "headers") {
		if header["name"] == "Received" {
			received++
		}
	}
	if received != 2 {
		t.Errorf("%d Received headers of 2: %v", received, got["headers"])
	}

	listed := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]
	for _, field := range []string{"emailId", "subject", "references", "attachments", "etag", "size", "internalDate"} {
		if fmt.Sprint(listed[field]) != fmt.Sprint(got[field]) || got[field] == "" {
			t.Errorf("%s differs: %v in the list, %v alone", field, listed[field], got[field])
		}
	}
	text := h.get(t, "/v1/"+name+"?bodyForm=TEXT")["body"].(object)
	html := h.get(t, "/v1/"+name+"?bodyForm=HTML")["body"].(object)
	if text["html"] != "" || text["text"] == "" || html["html"] == "" || html["text"] != "" {
		t.Errorf("forms: %v, %v", text, html)
	}
	short := h.get(t, "/v1/"+name+"?maxBodyBytes=6")["body"].(object)
	if short["text"] != "Grüß"[:6] && short["text"] != "Grü" || short["truncated"] != true {
		t.Errorf("cut: %v", short)
	}
	masked := h.get(t, "/v1/"+name+"?readMask=subject,body.text")
	if masked["subject"] != "Grüße" || masked["body"].(object)["text"] == "" || masked["body"].(object)["html"] != "" || masked["name"] != "" {
		t.Errorf("masked: %v", masked)
	}
	if flags := h.get(t, "/v1/"+name)["flags"]; len(flags.([]any)) != 0 {
		t.Errorf("reading has set %v", flags)
	}
}

func TestGetMessageTellsOfCutHeader(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", []byte("From: ann@example.com\r\nSubject: huge\r\nX-Huge: "+
		strings.Repeat(strings.Repeat("y", 70)+"\r\n ", 20_000)+"end\r\n\r\nHello\r\n"))
	got := h.get(t, "/v1/"+h.newest(t, account))
	if d := got["defects"].([]any); !slices.Contains(d, any("HEADER_TRUNCATED")) {
		t.Errorf("defects %v", d)
	}
	if text := got["body"].(object)["text"].(string); strings.TrimSpace(text) != "Hello" {
		t.Errorf("text %q", text)
	}
}

// Names that lead nowhere are told apart, and only after a look.
func TestGetMessageGone(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", mail("a"))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	expunge(t, server.Client(t, user), "INBOX", "a")
	for _, path := range []string{name, name + ":raw", name + "/attachments/1:download"} {
		h.do(t, http.MethodGet, "/v1/"+path, nil).refused(t, 404, "MESSAGE_GONE")
	}
	h.do(t, http.MethodGet, "/v1/"+account+"/messages/nonsense", nil).refused(t, 404, "MESSAGE_GONE")
	h.do(t, http.MethodGet, "/v1/accounts/nobody/messages/nonsense", nil).refused(t, 404, "ACCOUNT_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/folders/nonsense", nil).refused(t, 404, "FOLDER_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", account+"/folders/00000000"), nil).refused(t, 404, "FOLDER_NOT_FOUND")
	h.do(t, http.MethodGet, "/v1/"+account+"/messages"+values("folder", "accounts/other/folders/00000000"), nil).refused(t, 400, "ARGUMENT_INVALID")
	_, err := posternv1.NewMessageServiceClient(h.grpc).GetMessage(asAdmin(t.Context()), &posternv1.GetMessageRequest{Name: name})
	wantStatus(t, err, codes.NotFound, "MESSAGE_GONE")
}

// Mail that a session has not been told of is there all the same: who gets an
// event and reads the message at once must not be told that it is gone.
func TestGetMessageThatJustCame(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	account, user, server := h.dovecot(t)
	server.Deliver(t, user, "INBOX", mail("m1"))
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	name := list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages")[0]["name"].(string)
	h.get(t, "/v1/"+name) // the connection has INBOX open from here on
	uid := server.Deliver(t, user, "INBOX", mail("m2"))
	next := withUID(t, name, uid)
	if got := h.get(t, "/v1/"+next+"?view=METADATA")["subject"]; got != "m2" {
		t.Errorf("subject %v", got)
	}
}

// A mailbox whose credentials are refused is not the caller's 401, and a
// server that is away is not a 404.
func TestMailboxFailures(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	wrong := h.register(t, shared.sandbox.Host(), shared.sandbox.Port(), "demo@postern.example", "wrong")
	h.do(t, http.MethodGet, "/v1/"+wrong+"/folders", nil).refused(t, 400, "IMAP_AUTH_FAILED")
	away := h.register(t, "127.0.0.1", 1, "demo@postern.example", "x")
	a := h.do(t, http.MethodGet, "/v1/"+away+"/messages", nil)
	a.refused(t, 503, "IMAP_UNAVAILABLE")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
