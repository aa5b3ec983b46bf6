package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/smtptest"
)

// writeDraft writes a draft and gives its name.
func (s *sender) writeDraft(t *testing.T, draft object) string {
	t.Helper()
	return s.do(t, http.MethodPost, "/v1/"+s.name+"/drafts", draft).ok(t)["name"].(string)
}

// draftGone waits until a draft is no longer there.
func (s *sender) draftGone(t *testing.T, name string) {
	t.Helper()
	s.until(t, "/v1/"+name, func(a answer) bool { return a.status == http.StatusNotFound })
}

func TestDraftIsSentAndRemoved(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	draft := s.writeDraft(t, object{
		"to": to("bob@example.com"), "bcc": to("joe@example.com"), "subject": "Plans", "text": "At last",
		"attachments": []object{{"filename": "a.txt", "content": "aGVsbG8="}},
	})
	m, d, _ := s.sent(t, object{"draft": draft})
	if fmt.Sprint(d.To) != "[bob@example.com joe@example.com]" || m.Header.Get("Subject") != "Plans" {
		t.Errorf("sent to %v: %v", d.To, m.Header)
	}
	for _, no := range []string{"joe@", "Bcc", "X-Postern"} {
		if strings.Contains(string(d.Data), no) {
			t.Errorf("%q is in\n%s", no, d.Data)
		}
	}
	for _, want := range []string{"At last", "aGVsbG8", "a.txt"} {
		if !strings.Contains(string(d.Data), want) {
			t.Errorf("%q is not in\n%s", want, d.Data)
		}
	}
	s.draftGone(t, draft)
	s.submit(t, object{"draft": draft}).refused(t, http.StatusNotFound, "DRAFT_NOT_FOUND")
}

func TestSendDraft(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	draft := s.writeDraft(t, object{"to": to("bob@example.com"), "subject": "Plans", "text": "At last"})
	send := func() object {
		return s.do(t, http.MethodPost, "/v1/"+draft+":send", object{"wait": "30s", "saveToSent": "NEVER"}, "Idempotency-Key", "once").ok(t)
	}
	one := send()
	s.draftGone(t, draft)
	// The call can be repeated though the draft is gone.
	if again := send(); one["state"] != "SENT" || again["name"] != one["name"] || len(s.smtp.Deliveries()) != 1 {
		t.Errorf("sent as %v, and again as %v", one, again)
	}
}

func TestChangedDraftStays(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	draft := s.writeDraft(t, object{"to": to("bob@example.com"), "subject": "Plans", "text": "At last"})
	at := time.Now().Add(4 * time.Second)
	planned := s.do(t, http.MethodPost, "/v1/"+draft+":send", object{"sendTime": at.UTC().Format(time.RFC3339Nano)}).ok(t)
	s.do(t, http.MethodPatch, "/v1/"+draft, object{"text": "Or later"}).ok(t)
	s.until(t, "/v1/"+planned["name"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
	if d := s.smtp.Deliveries()[0]; !strings.Contains(string(d.Data), "At last") {
		t.Errorf("sent:\n%s", d.Data)
	}
	// The copy in Sent comes before the draft would go.
	sentFolder := s.folderNamed(t, s.name, "Sent")["name"].(string)
	s.until(t, "/v1/"+s.name+"/messages"+values("folder", sentFolder), func(a answer) bool {
		return a.status == http.StatusOK && len(list(a.json(t), "messages")) == 1
	})
	if got := s.get(t, "/v1/"+draft); got["text"] != "Or later\n" && got["text"] != "Or later" {
		t.Errorf("the draft is %v", got)
	}
}

func TestDraftsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	nobody := s.writeDraft(t, object{"subject": "Plans", "text": "For nobody"})
	s.submit(t, object{"draft": nobody}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.submit(t, object{"draft": nobody, "subject": "Other"}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.submit(t, object{"draft": "accounts/other/drafts/abcdefghij"}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
}
