package gateway_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/smtptest"
)

func (s *sender) merge(t *testing.T, request object, header ...string) answer {
	t.Helper()
	return s.do(t, http.MethodPost, "/v1/"+s.name+"/submissions:merge", request, header...)
}

func recipient(address string, variables object) object {
	return object{"to": object{"address": address}, "variables": variables}
}

// errorOf is the reason and the metadata of what became of a recipient.
func errorOf(t *testing.T, result object) (reason string, metadata object) {
	t.Helper()
	failed, _ := result["error"].(object)
	for _, d := range list(failed, "details") {
		if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" {
			reason, _ = d["reason"].(string)
			metadata, _ = d["metadata"].(object)
		}
	}
	return reason, metadata
}

func TestMailMergeWithAStoredTemplate(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	id := freshID()
	s.do(t, http.MethodPost, "/v1/templates?templateId="+id, object{
		"subject": "Order {{.number}}", "text": "Dear {{.name}}:{{range .items}} {{.}}{{end}}", "html": "<p>Dear {{.name}}</p>",
	}).ok(t)
	upload := s.do(t, http.MethodPost, "/v1/"+s.name+"/uploads"+values("filename", "terms.txt"), "The terms").ok(t)
	request := object{
		"template": "templates/" + id,
		"submission": object{
			"from": object{"name": "Ann", "address": "ann@example.org"}, "headers": []object{{"name": "X-Campaign", "value": "autumn"}},
			"attachments": []object{{"upload": upload["name"]}}, "saveToSent": "NEVER",
		},
		"recipients": []object{
			{"to": object{"name": "Bob", "address": "bob@example.com"}, "variables": object{"number": 1234567, "name": "Bob <script>alert(1)</script>", "items": []any{"tea", 2.5}}},
			recipient("eve@example.com", object{"number": 2, "name": "Eve", "items": []any{}}),
		},
	}
	key := freshID()
	made := s.merge(t, request, "Idempotency-Key", key).ok(t)
	results := list(made, "results")
	if len(results) != 2 {
		t.Fatalf("%v", made)
	}
	for _, r := range results {
		s.until(t, "/v1/"+r["submission"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
	}
	again := s.merge(t, request, "Idempotency-Key", key).ok(t)
	if fmt.Sprint(again) != fmt.Sprint(made) {
		t.Errorf("again %v, want %v", again, made)
	}
	deliveries := s.smtp.Deliveries()
	if len(deliveries) != 2 {
		t.Fatalf("%d deliveries", len(deliveries))
	}
	for _, d := range deliveries {
		m, err := netmail.ReadMessage(strings.NewReader(string(d.Data)))
		if err != nil {
			t.Fatal(err)
		}
		data := string(d.Data)
		if len(d.To) != 1 || d.From != "ann@example.org" || m.Header.Get("X-Campaign") != "autumn" ||
			!strings.Contains(data, "terms.txt") || !strings.Contains(data, base64.StdEncoding.EncodeToString([]byte("The terms"))) {
			t.Errorf("%v\n%s", d.To, data)
		}
		if d.To[0] != "bob@example.com" {
			if m.Header.Get("To") != "<eve@example.com>" || m.Header.Get("Subject") != "Order 2" || strings.Contains(data, "bob@") {
				t.Errorf("%s", data)
			}
			continue
		}
		if m.Header.Get("To") != `"Bob" <bob@example.com>` && m.Header.Get("To") != "Bob <bob@example.com>" || m.Header.Get("Subject") != "Order 1234567" {
			t.Errorf("header %v", m.Header)
		}
		if !strings.Contains(data, "<p>Dear Bob &lt;script&gt;alert(1)&lt;/script&gt;</p>") || !strings.Contains(data, "Dear Bob <script>alert(1)</script>: tea 2.5") {
			t.Errorf("%s", data)
		}
	}
	// All were made, so the upload is used.
	refused := list(s.merge(t, request).ok(t), "results")[0]
	if reason, _ := errorOf(t, refused); reason != "UPLOAD_NOT_FOUND" {
		t.Errorf("with a used upload: %v", refused)
	}
}

// What is wrong with one recipient does not concern the others.
func TestMailMergeTellsEachRecipientsFaults(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	good := object{"name": "Bob"}
	request := object{
		"submission": object{"subject": "Hi {{.name}}", "html": "<p>{{.name}}</p>"},
		"recipients": []object{
			recipient("one@example.com", good),
			recipient("not an address", good),
			recipient("three@example.com", object{"surname": "x"}),
			recipient("four@example.com", object{"name": "x\r\nBcc: eve@example.com"}),
			{"to": object{"name": "x\r\nBcc: eve@example.com", "address": "five@example.com"}, "variables": good},
			recipient("six@example.com\r\nBcc: eve@example.com", good),
			recipient("seven@example.com, eve@example.com", good),
			{"variables": good},
			recipient("nine@example.com", object{"name": strings.Repeat("x", 3000)}),
			recipient("ten@example.com", good),
		},
	}
	wantReasons := []string{
		"", "ARGUMENT_INVALID", "VARIABLE_MISSING", "ARGUMENT_INVALID", "ARGUMENT_INVALID", "ARGUMENT_INVALID", "ARGUMENT_INVALID", "ARGUMENT_INVALID", "ARGUMENT_INVALID", "",
	}
	check := func(results []object, sent bool) {
		t.Helper()
		for i, r := range results {
			reason, metadata := errorOf(t, r)
			name, _ := r["submission"].(string)
			if reason != wantReasons[i] || (name != "") != (sent && reason == "") {
				t.Errorf("recipient %d: %v", i, r)
			}
			if reason == "VARIABLE_MISSING" && (metadata["key"] != "name" || metadata["part"] != "subject" || metadata["line"] != "1" || metadata["column"] == "") {
				t.Errorf("recipient %d: %v", i, metadata)
			}
		}
	}
	request["validateOnly"] = true
	key := freshID()
	check(list(s.merge(t, request, "Idempotency-Key", key).ok(t), "results"), false)
	if listed := list(s.get(t, "/v1/"+s.name+"/submissions"), "submissions"); len(listed) != 0 {
		t.Errorf("validating made %v", listed)
	}
	request["validateOnly"] = false
	made := s.merge(t, request, "Idempotency-Key", key).ok(t)
	results := list(made, "results")
	check(results, true)
	if body := fmt.Sprint(results[1]); !strings.Contains(body, "recipients[1].to.address") {
		t.Errorf("no violation of the recipient: %s", body)
	}
	again := s.merge(t, request, "Idempotency-Key", key).ok(t)
	if fmt.Sprint(again) != fmt.Sprint(made) {
		t.Errorf("again %v, want %v", again, made)
	}
	for _, i := range []int{0, 9} {
		s.until(t, "/v1/"+results[i]["submission"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
	}
	for _, d := range s.smtp.Deliveries() {
		header, _, _ := strings.Cut(string(d.Data), "\r\n\r\n")
		if len(d.To) != 1 || strings.Contains(header, "eve@") || strings.Contains(header, "Bcc") {
			t.Errorf("%v\n%s", d.To, d.Data)
		}
	}
	if n := len(s.smtp.Deliveries()); n != 2 {
		t.Errorf("%d deliveries", n)
	}
}

func TestMailMergesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	bob := []object{recipient("bob@example.com", nil)}
	for name, test := range map[string]struct {
		request       object
		status        int
		reason, field string
	}{
		"no recipients":    {object{"submission": object{"text": "x"}}, 400, "ARGUMENT_INVALID", "recipients"},
		"no content":       {object{"recipients": bob}, 400, "ARGUMENT_INVALID", "template"},
		"two contents":     {object{"recipients": bob, "template": "templates/x", "submission": object{"text": "x"}}, 400, "ARGUMENT_INVALID", "template"},
		"no such template": {object{"recipients": bob, "template": "templates/none"}, 404, "TEMPLATE_NOT_FOUND", ""},
		"a bad template":   {object{"recipients": bob, "submission": object{"text": "{{if}}"}}, 400, "TEMPLATE_INVALID", "submission.text"},
		"to":               {object{"recipients": bob, "submission": object{"text": "x", "to": to("eve@example.com")}}, 400, "ARGUMENT_INVALID", "submission.to"},
		"bcc":              {object{"recipients": bob, "submission": object{"text": "x", "bcc": to("eve@example.com")}}, 400, "ARGUMENT_INVALID", "submission.bcc"},
		"an envelope":      {object{"recipients": bob, "submission": object{"text": "x", "envelope": object{"rcptTo": []string{"eve@example.com"}}}}, 400, "ARGUMENT_INVALID", "submission.envelope.rcpt_to"},
		"waiting":          {object{"recipients": bob, "submission": object{"text": "x", "wait": "1s"}}, 400, "ARGUMENT_INVALID", "submission.wait"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.merge(t, test.request)
			a.refused(t, test.status, test.reason)
			if test.field != "" && !strings.Contains(string(a.body), `"`+test.field+`"`) {
				t.Errorf("no violation of %s: %s", test.field, a.body)
			}
		})
	}
	many := make([]object, 501)
	for i := range many {
		many[i] = recipient("bob@example.com", nil)
	}
	s.merge(t, object{"recipients": many, "submission": object{"text": "x"}}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	without, _, _ := s.house.dovecot(t)
	s.do(t, http.MethodPost, "/v1/"+without+"/submissions:merge", object{"recipients": bob, "submission": object{"text": "x"}}).
		refused(t, http.StatusBadRequest, "SMTP_NOT_CONFIGURED")
}

func TestMailMergeOverGRPC(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	client := posternv1.NewSubmissionServiceClient(s.grpc)
	req := &posternv1.MergeSubmissionsRequest{
		Parent: s.name, RequestId: freshID(),
		Submission: &posternv1.Submission{Subject: "{{.n}}", Text: "Number {{.n}}"},
	}
	req.Submission.SendTime = timestamppb.New(time.Now().Add(time.Hour))
	for i := range 20 {
		req.Recipients = append(req.Recipients, &posternv1.MergeSubmissionsRequest_Recipient{
			To:        &posternv1.Address{Address: fmt.Sprintf("r%d@example.com", i)},
			Variables: &structpb.Struct{Fields: map[string]*structpb.Value{"n": structpb.NewNumberValue(float64(i))}},
		})
	}
	made, err := client.MergeSubmissions(asAdmin(t.Context()), req)
	if err != nil || len(made.GetResults()) != 20 {
		t.Fatalf("%v, %v", made, err)
	}
	seen := map[string]bool{}
	for i, r := range made.GetResults() {
		got, err := client.GetSubmission(asAdmin(t.Context()), &posternv1.GetSubmissionRequest{Name: r.GetSubmission()})
		if err != nil || got.GetState() != posternv1.Submission_SCHEDULED || got.GetSubject() != fmt.Sprint(i) ||
			len(got.GetRecipients()) != 1 || got.GetRecipients()[0].GetAddress() != fmt.Sprintf("r%d@example.com", i) {
			t.Errorf("%d: %v, %v", i, got, err)
		}
		seen[r.GetSubmission()] = true
		if _, err := client.CancelSubmission(asAdmin(t.Context()), &posternv1.CancelSubmissionRequest{Name: r.GetSubmission()}); err != nil {
			t.Errorf("cancel: %v", err)
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d submissions", len(seen))
	}
	req.Submission.Text = "Other"
	if _, err := client.MergeSubmissions(asAdmin(t.Context()), req); reasonOf(status.Convert(err)) != "REQUEST_ID_REUSED" {
		t.Errorf("other content: %v", err)
	}
}

// A caller that gives up in the midst of a merge and asks again has it finished, and
// nobody gets two messages.
func TestMailMergeGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	client := posternv1.NewSubmissionServiceClient(s.grpc)
	req := &posternv1.MergeSubmissionsRequest{
		Parent: s.name, RequestId: freshID(),
		Submission: &posternv1.Submission{Subject: "x", Text: "y", SaveToSent: posternv1.Submission_NEVER},
	}
	const all = 120
	for i := range all {
		req.Recipients = append(req.Recipients, &posternv1.MergeSubmissionsRequest_Recipient{To: &posternv1.Address{Address: fmt.Sprintf("r%d@example.com", i)}})
	}
	ctx, cancel := context.WithCancel(asAdmin(t.Context()))
	defer cancel()
	cut := make(chan error, 1)
	go func() {
		_, err := client.MergeSubmissions(ctx, req)
		cut <- err
	}()
	s.until(t, "/v1/"+s.name+"/submissions", func(a answer) bool { return len(list(a.json(t), "submissions")) > 0 })
	cancel()
	t.Logf("the first call ended with %v", <-cut)

	var made *posternv1.MergeSubmissionsResponse
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var err error
		if made, err = client.MergeSubmissions(asAdmin(t.Context()), req); err == nil {
			break
		}
		if reasonOf(status.Convert(err)) != "REQUEST_IN_PROGRESS" || time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
	for i, r := range made.GetResults() {
		if r.GetSubmission() == "" {
			t.Fatalf("recipient %d: %v", i, r)
		}
		s.until(t, "/v1/"+r.GetSubmission(), func(a answer) bool { return a.json(t)["state"] == "SENT" })
	}
	got := map[string]int{}
	for _, d := range s.smtp.Deliveries() {
		got[d.To[0]]++
	}
	for address, n := range got {
		if n != 1 {
			t.Errorf("%s got %d messages", address, n)
		}
	}
	if len(got) != all {
		t.Errorf("%d got it", len(got))
	}
}
