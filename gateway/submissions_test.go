package gateway_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	netmail "net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-smtp"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/smtptest"
)

// sender is an account over a real Dovecot that sends through an SMTP server of the
// test.
type sender struct {
	*house
	name, username string
	dovecot        *dovecottest.Server
	smtp           *smtptest.Server
}

func newSender(t *testing.T, config smtptest.Config) *sender {
	t.Helper()
	h := sharedHouse(t)
	name, username, dovecot := h.dovecot(t)
	server := smtptest.Start(t, config)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"smtp": object{
		"host": server.Host, "port": server.Port, "tlsMode": "PLAINTEXT", "username": smtptest.Username, "password": smtptest.Password,
	}}).ok(t)
	return &sender{house: h, name: name, username: username, dovecot: dovecot, smtp: server}
}

// submit sends a message and gives the answer of the API.
func (s *sender) submit(t *testing.T, content object, header ...string) answer {
	t.Helper()
	return s.do(t, http.MethodPost, "/v1/"+s.name+"/submissions", content, header...)
}

// sent sends a message, waits for it, and gives it as the server got it.
func (s *sender) sent(t *testing.T, content object) (*netmail.Message, *smtptest.Delivery, object) {
	t.Helper()
	content["wait"] = "30s"
	o := s.submit(t, content).ok(t)
	if o["state"] != "SENT" {
		t.Fatalf("state %v: %v", o["state"], o)
	}
	for _, d := range s.smtp.Deliveries() {
		m, err := netmail.ReadMessage(strings.NewReader(string(d.Data)))
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("Message-ID") == fmt.Sprintf("<%s>", o["messageId"]) {
			return m, d, o
		}
	}
	t.Fatalf("the server was not given %v", o)
	return nil, nil, nil
}

func to(addresses ...string) []object {
	var out []object
	for _, a := range addresses {
		out = append(out, object{"address": a})
	}
	return out
}

func TestSendOverREST(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	m, d, o := s.sent(t, object{
		"from": object{"name": "Ann Lee", "address": "ann@example.org"}, "to": to("bob@example.com"), "cc": to("eve@bücher.example"), "bcc": to("joe@example.com"),
		"subject": "Grüße", "html": "<p>Hello <b>Bob</b></p>", "headers": []object{{"name": "X-Order", "value": "4711"}},
		"attachments": []object{{"filename": "a.pdf", "contentType": "application/pdf", "content": base64.StdEncoding.EncodeToString([]byte("%PDF"))}},
		"dsn":         object{"notify": []string{"FAILURE", "DELAY"}, "return": "HEADERS", "envelopeId": "e1"},
	})
	if fmt.Sprint(d.To) != "[bob@example.com eve@xn--bcher-kva.example joe@example.com]" || d.From != "ann@example.org" {
		t.Errorf("envelope %+v", d)
	}
	if d.Options.EnvelopeID != "e1" || d.Options.Return != smtp.DSNReturnHeaders || len(d.Notify[0]) != 2 {
		t.Errorf("DSN %+v %v", d.Options, d.Notify)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("X-Order") != "4711" || strings.Contains(string(d.Data), "joe@") {
		t.Errorf("header %v", m.Header)
	}
	for _, want := range []string{"text/plain", "Hello Bob", "text/html", "a.pdf"} {
		if !strings.Contains(string(d.Data), want) {
			t.Errorf("%q is not in:\n%s", want, d.Data)
		}
	}
	got := s.get(t, "/v1/"+o["name"].(string))
	if got["state"] != "SENT" || len(list(got, "recipients")) != 3 || list(got, "recipients")[0]["smtpCode"] != 250.0 || got["subject"] != "Grüße" {
		t.Errorf("submission %v", got)
	}
	// A copy is in Sent, and has no Bcc either.
	s.until(t, "/v1/"+s.name+"/messages"+values("folder", s.folderNamed(t, s.name, "Sent")["name"].(string)), func(a answer) bool {
		return a.status == http.StatusOK && len(list(a.json(t), "messages")) == 1
	})
}

func TestSendOverGRPC(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	client := posternv1.NewSubmissionServiceClient(s.grpc)
	req := &posternv1.CreateSubmissionRequest{Parent: s.name, RequestId: "r1", Submission: &posternv1.Submission{
		To: []*posternv1.Address{{Address: "bob@example.com"}}, Subject: "Hi", Text: "Hello", Wait: durationpb.New(30 * time.Second),
	}}
	made, err := client.CreateSubmission(asAdmin(t.Context()), req)
	if err != nil || made.GetState() != posternv1.Submission_SENT {
		t.Fatalf("%v, %v", made, err)
	}
	if made.GetFrom().GetAddress() != s.username {
		t.Errorf("from %v, want the account's own address", made.GetFrom())
	}
	again, err := client.CreateSubmission(asAdmin(t.Context()), req)
	if err != nil || again.GetName() != made.GetName() {
		t.Errorf("again: %v, %v", again, err)
	}
	req.Submission.Subject = "Other"
	if _, err = client.CreateSubmission(asAdmin(t.Context()), req); reasonOf(status.Convert(err)) != "REQUEST_ID_REUSED" {
		t.Errorf("other content: %v", err)
	}
	listed, err := client.ListSubmissions(asAdmin(t.Context()), &posternv1.ListSubmissionsRequest{Parent: s.name})
	if err != nil || len(listed.GetSubmissions()) != 1 {
		t.Errorf("listed %v, %v", listed, err)
	}
	if _, err := client.CancelSubmission(asAdmin(t.Context()), &posternv1.CancelSubmissionRequest{Name: made.GetName()}); reasonOf(status.Convert(err)) != "SUBMISSION_STATE" {
		t.Errorf("cancel what was sent: %v", err)
	}
	if n := len(s.smtp.Deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

func TestSubmissionsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	bob := to("bob@example.com")
	for name, test := range map[string]struct {
		content object
		field   string
	}{
		"no recipients":      {object{"subject": "x"}, "submission.to"},
		"a line break":       {object{"to": bob, "subject": "a\r\nBcc: eve@example.com"}, "submission.subject"},
		"an address":         {object{"to": to("bob")}, "submission.to[0].address"},
		"a header of ours":   {object{"to": bob, "headers": []object{{"name": "From", "value": "eve@example.com"}}}, "submission.headers[0].name"},
		"raw and more":       {object{"to": bob, "raw": "RnJvbTogYUB4DQoNCkhp"}, "submission.raw"},
		"raw without From":   {object{"raw": "U3ViamVjdDogeA0KDQpIaQ=="}, "submission.raw"},
		"two years ahead":    {object{"to": bob, "sendTime": time.Now().AddDate(2, 0, 0).Format(time.RFC3339)}, "submission.send_time"},
		"an envelope":        {object{"to": bob, "envelope": object{"mailFrom": "a b"}}, "submission.envelope.mail_from"},
		"of another account": {object{"to": bob, "reply": object{"message": "accounts/other/messages/000000000000000000000"}}, "submission.reply.message"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.submit(t, test.content)
			a.refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
			if !strings.Contains(string(a.body), `"`+test.field+`"`) {
				t.Errorf("no violation of %s: %s", test.field, a.body)
			}
		})
	}
	without, _, _ := s.house.dovecot(t)
	s.do(t, http.MethodPost, "/v1/"+without+"/submissions", object{"to": bob}).refused(t, http.StatusBadRequest, "SMTP_NOT_CONFIGURED")
	s.do(t, http.MethodGet, "/v1/"+s.name+"/submissions/none", nil).refused(t, http.StatusNotFound, "SUBMISSION_NOT_FOUND")
	if n := len(s.smtp.Deliveries()); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}

func TestRawMailIsSent(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	raw := "From: Ann <ann@example.org>\nTo: bob@example.com\nBcc: eve@example.com\nSubject: Raw\n\nGr\xc3\xbc\xc3\x9fe\n.\n"
	_, d, o := s.sent(t, object{"raw": base64.StdEncoding.EncodeToString([]byte(raw)), "envelope": object{"mailFrom": "bounces@example.org"}})
	if d.From != "bounces@example.org" || fmt.Sprint(d.To) != "[bob@example.com eve@example.com]" || o["subject"] != "Raw" {
		t.Errorf("%+v %v", d, o)
	}
	if !strings.HasSuffix(string(d.Data), "\r\n\r\nGrüße\r\n.\r\n") || strings.Contains(string(d.Data), "eve@") {
		t.Errorf("data %q", d.Data)
	}
}

func TestRepliesAndForwards(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	original := "From: Bob <bob@example.com>\r\nTo: " + s.username + ", eve@example.com\r\nSubject: Lunch\r\nMessage-ID: <orig@example.com>\r\nReferences: <first@example.com>\r\n" +
		"Date: Fri, 27 Nov 2026 12:00:00 +0000\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nShall we?\r\n--x\r\nContent-Type: text/csv\r\n" +
		"Content-Disposition: attachment; filename=menu.csv\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte("soup,5\n")) + "\r\n--x--\r\n"
	uid := s.dovecot.Deliver(t, s.username, "INBOX", []byte(original))
	name := s.newest(t, s.name)
	m, d, _ := s.sent(t, object{"text": "Yes.", "reply": object{"message": name, "mode": "REPLY_ALL", "quote": true}})
	if m.Header.Get("In-Reply-To") != "<orig@example.com>" || m.Header.Get("References") != "<first@example.com> <orig@example.com>" || m.Header.Get("Subject") != "Re: Lunch" {
		t.Errorf("header %v", m.Header)
	}
	if fmt.Sprint(d.To) != "[bob@example.com eve@example.com]" || !strings.Contains(string(d.Data), "> Shall we?") || strings.Contains(string(d.Data), "menu.csv") {
		t.Errorf("%v %s", d.To, d.Data)
	}
	s.flagged(t, uid, imap.FlagAnswered)
	m, d, _ = s.sent(t, object{"to": to("joe@example.com"), "text": "Look", "reply": object{"message": name, "mode": "FORWARD"}})
	if m.Header.Get("Subject") != "Fwd: Lunch" || !strings.Contains(string(d.Data), "menu.csv") || !strings.Contains(string(d.Data), base64.StdEncoding.EncodeToString([]byte("soup,5\n"))) {
		t.Errorf("forwarded:\n%s", d.Data)
	}
	s.flagged(t, uid, imap.FlagForwarded)
	// By reference, under the name that it has.
	_, d, _ = s.sent(t, object{"to": to("joe@example.com"), "text": "Look", "attachments": []object{{"attachment": name + "/attachments/2"}}})
	if !strings.Contains(string(d.Data), "menu.csv") || !strings.Contains(string(d.Data), "text/csv") {
		t.Errorf("attached:\n%s", d.Data)
	}
	s.submit(t, object{"to": to("joe@example.com"), "attachments": []object{{"attachment": name + "/attachments/7"}}}).refused(t, http.StatusNotFound, "ATTACHMENT_NOT_FOUND")
}

// flagged waits until a message in INBOX has a flag.
func (s *sender) flagged(t *testing.T, uid imap.UID, flag imap.Flag) {
	t.Helper()
	client := s.dovecot.Client(t, s.username)
	if _, err := client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(uid)}, Flag: []imap.Flag{flag}}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		if len(found.AllUIDs()) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the message does not get %s", flag)
		}
		<-tick.C
	}
}

func TestScheduledMailCanBeCanceled(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	made := s.submit(t, object{"to": to("bob@example.com"), "text": "x", "sendTime": time.Now().Add(time.Hour).Format(time.RFC3339)}).ok(t)
	if made["state"] != "SCHEDULED" || made["nextAttemptTime"] == nil {
		t.Errorf("created %v", made)
	}
	name := "/v1/" + made["name"].(string)
	if got := s.do(t, http.MethodPost, name+":cancel", object{}).ok(t); got["state"] != "CANCELED" {
		t.Errorf("canceled %v", got)
	}
	s.do(t, http.MethodPost, name+":retry", object{}).refused(t, http.StatusBadRequest, "SUBMISSION_STATE")
}

func TestWhatWasRefusedCanBeRetried(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	full.Store(true)
	s := newSender(t, smtptest.Config{Rcpt: func(to string) error {
		if full.Load() && to == "bob@example.com" {
			return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "mailbox full"}
		}
		return nil
	}})
	got := s.submit(t, object{"to": to("bob@example.com", "eve@example.com"), "text": "x", "wait": "30s"}).ok(t)
	if got["state"] != "PARTIALLY_REJECTED" {
		t.Fatalf("%v", got)
	}
	if r := list(got, "recipients")[0]; r["state"] != "REJECTED" || r["smtpCode"] != 552.0 || r["enhancedCode"] != "5.2.2" || r["text"] != "mailbox full" {
		t.Errorf("recipient %v", r)
	}
	full.Store(false)
	name := "/v1/" + got["name"].(string)
	s.do(t, http.MethodPost, name+":retry", object{}).ok(t)
	s.until(t, name, func(a answer) bool { return a.json(t)["state"] == "SENT" })
	deliveries := s.smtp.Deliveries()
	if len(deliveries) != 2 || fmt.Sprint(deliveries[0].To, deliveries[1].To) != "[eve@example.com] [bob@example.com]" {
		t.Errorf("%d deliveries", len(deliveries))
	}
}

func TestIdempotencyKeysSendOnce(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	content := object{"to": to("bob@example.com"), "text": "x", "wait": "30s"}
	first := s.submit(t, content, "Idempotency-Key", "k1").ok(t)
	content["wait"] = "20s" // how long one waits is not what is sent
	again := s.submit(t, content, "Idempotency-Key", "k1").ok(t)
	if first["name"] != again["name"] {
		t.Errorf("%v and %v", first["name"], again["name"])
	}
	content["text"] = "y"
	s.submit(t, content, "Idempotency-Key", "k1").refused(t, http.StatusBadRequest, "REQUEST_ID_REUSED")
	if n := len(s.smtp.Deliveries()); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

// Equal calls at the same moment are one: of a small message and of one that is kept
// apart, made of an upload that is gone once the first of them was served.
func TestEqualCallsAtTheSameMomentSendOnce(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	const calls = 50
	for _, size := range []int{10, 200 << 10} {
		upload := s.do(t, http.MethodPost, "/v1/"+s.name+"/uploads?filename=a.bin", strings.Repeat("x", size), "Content-Type", "application/octet-stream").ok(t)["name"]
		content := object{
			"to": to("bob@example.com"), "subject": fmt.Sprintf("size %d", size), "text": "Hello", "saveToSent": "NEVER", "wait": "30s",
			"attachments": []object{{"upload": upload}},
		}
		key := fmt.Sprintf("same-%d", size)
		before := len(s.smtp.Deliveries())
		answers := make([]string, calls)
		var callers sync.WaitGroup
		for i := range answers {
			callers.Go(func() {
				a := s.submit(t, content, "Idempotency-Key", key)
				o := a.json(t)
				answers[i] = fmt.Sprint(a.status, o["name"], o["state"], o["messageId"], o["size"], o["createTime"])
			})
		}
		callers.Wait()
		for _, answer := range answers {
			if answer != answers[0] || !strings.Contains(answer, "SENT") {
				t.Fatalf("answers %q and %q", answers[0], answer)
			}
		}
		got := s.smtp.Wait(t, before+1)
		if len(got) != before+1 {
			t.Fatalf("%d messages were sent", len(got)-before)
		}
		// One whole message, not parts of several.
		entity, err := gomessage.Read(bytes.NewReader(got[before].Data))
		if err != nil {
			t.Fatal(err)
		}
		var longest int64
		err = entity.Walk(func(_ []int, part *gomessage.Entity, err error) error {
			if err == nil && part.MultipartReader() == nil {
				var n int64
				n, err = io.Copy(io.Discard, part.Body)
				longest = max(longest, n)
			}
			return err
		})
		if err != nil || longest != int64(size) {
			t.Errorf("the file has %d bytes, want %d (%v)", longest, size, err)
		}
	}
}

func TestSubmissionsAreListedByPages(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	var want []string
	for range 5 {
		want = append([]string{s.submit(t, object{"to": to("bob@example.com"), "sendTime": time.Now().Add(time.Hour).Format(time.RFC3339)}).ok(t)["name"].(string)}, want...)
	}
	var got []string
	for token := ""; ; {
		page := s.get(t, "/v1/"+s.name+"/submissions"+values("pageSize", "2", "pageToken", token))
		for _, o := range list(page, "submissions") {
			got = append(got, o["name"].(string))
		}
		if token, _ = page["nextPageToken"].(string); token == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

func TestSendingPolicy(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	policy := func(a answer) string { return fmt.Sprint(a.ok(t)["sending"]) }
	if got := policy(s.do(t, http.MethodPatch, "/v1/"+s.name, object{"sending": object{"maxPerMinute": 2}})); got != "map[maxConcurrent:0 maxPerMinute:2]" {
		t.Errorf("set to %s", got)
	}
	if got := policy(s.do(t, http.MethodPatch, "/v1/"+s.name, object{"sending": object{"maxConcurrent": 1}})); got != "map[maxConcurrent:1 maxPerMinute:2]" {
		t.Errorf("changed to %s", got)
	}
	if a := s.do(t, http.MethodPatch, "/v1/"+s.name, object{"sending": object{"maxConcurrent": 21}}); a.status != http.StatusBadRequest {
		t.Errorf("21 connections: %d %s", a.status, a.body)
	}
	for range 2 {
		s.sent(t, object{"to": to("bob@example.com"), "text": "Hello", "saveToSent": "NEVER"})
	}
	waiting := s.submit(t, object{"to": to("bob@example.com"), "text": "Hello", "saveToSent": "NEVER"}).ok(t)
	// Without the rate it goes out; with it, it would not within the minute.
	s.do(t, http.MethodPost, "/v1/"+s.name+"/submissions", object{"to": to("bob@example.com"), "text": "Hello", "wait": "1s"})
	if n := len(s.smtp.Deliveries()); n != 2 {
		t.Errorf("%d messages went out within the minute, the rate is 2", n)
	}
	s.do(t, http.MethodPatch, "/v1/"+s.name+"?updateMask=sending", object{}).ok(t)
	s.submit(t, object{"to": to("bob@example.com"), "text": "Hello"}).ok(t) // has the outbox look
	s.until(t, "/v1/"+waiting["name"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
}

func TestQuotedHTMLIsSafe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	s.dovecot.Deliver(t, s.username, "INBOX", []byte(strings.ReplaceAll(`From: Bob <bob@example.com>
Subject: Lunch
Message-ID: <html@example.com>
MIME-Version: 1.0
Content-Type: multipart/related; boundary=x

--x
Content-Type: text/html

<p onclick="x()">Shall <b>we</b>?<script>evil()</script><img src="cid:pic@x"><img src="https://example.com/seen.gif"></p>
--x
Content-Type: image/png
Content-ID: <pic@x>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--x--
`, "\n", "\r\n")))
	name := s.newest(t, s.name)
	for mode, want := range map[string][]string{
		"REPLY":   {"<b>we</b>"},
		"FORWARD": {"<b>we</b>", "cid:pic@x", "https://example.com/seen.gif", "iVBORw0KGgo"},
	} {
		_, d, _ := s.sent(t, object{"to": to("bob@example.com"), "html": "<p>Yes.</p>", "saveToSent": "NEVER", "reply": object{"message": name, "mode": mode, "quote": true}})
		text := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(d.Data))
		for _, have := range append(want, "<blockquote", "Yes.") {
			if !strings.Contains(text, have) {
				t.Errorf("%s: %q is not in\n%s", mode, have, text)
			}
		}
		for _, no := range []string{"evil", "onclick"} {
			if strings.Contains(text, no) {
				t.Errorf("%s: %q is in\n%s", mode, no, text)
			}
		}
		if mode == "REPLY" && strings.Contains(text, "seen.gif") {
			t.Errorf("a reply has a remote image:\n%s", text)
		}
	}
}
