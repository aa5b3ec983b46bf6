package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/gmailtest"
)

// Labels are changed as such, a message is deleted and not only taken out of a
// folder, and found by Gmail's own id.
func TestWritesOnGmail(t *testing.T) {
	t.Parallel()
	server := gmailtest.Start(t)
	kept := server.Deliver(mail("kept"), gmailtest.LabelInbox, "work")
	doomed := server.Deliver(mail("doomed"), gmailtest.LabelInbox)
	h := sharedHouse(t)
	account := h.register(t, server.Host(), server.Port(), gmailtest.Username, gmailtest.Password)
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	names := make(map[string]string)
	for _, m := range list(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox)), "messages") {
		names[m["subject"].(string)] = m["name"].(string)
	}
	labels := func(id uint64) string {
		found, _ := server.Labels(id)
		return strings.Join(found, " ")
	}

	a := h.do(t, http.MethodPost, "/v1/"+account+"/messages:batchModify", object{
		"names": []string{names["kept"]}, "addLabels": []string{"Größe"}, "removeLabels": []string{"work"},
	})
	if a.ok(t)["modified"] != "1" || labels(kept) != `Größe \Inbox` {
		t.Errorf("labels are %q after %s", labels(kept), a.body)
	}
	placements := list(h.get(t, "/v1/"+account+"/messages:lookup"+values("emailId", h.get(t, "/v1/"+names["kept"])["emailId"].(string))), "messages")
	var in []string
	for _, m := range placements {
		in = append(in, h.get(t, "/v1/"+m["folder"].(string))["path"].([]any)[0].(string))
	}
	if got := fmt.Sprint(in); got != "[INBOX Größe [Gmail]]" && got != "[INBOX [Gmail] Größe]" {
		t.Errorf("found in %s", got)
	}
	h.do(t, http.MethodDelete, "/v1/"+names["doomed"], nil).ok(t)
	if _, there := server.Labels(doomed); there {
		t.Errorf("the message is still there, as %q", labels(doomed))
	}
	moved := h.do(t, http.MethodPost, "/v1/"+names["kept"]+":trash", "{}").ok(t)
	if labels(kept) != gmailtest.LabelTrash && !strings.Contains(labels(kept), gmailtest.LabelTrash) {
		t.Errorf("in the trash with %q, answered %v", labels(kept), moved)
	}
	a = h.do(t, http.MethodPost, "/v1/"+account+"/messages:batchModify", object{"names": []string{moved["name"].(string)}, "delete": true})
	if _, there := server.Labels(kept); there || a.ok(t)["modified"] != "1" {
		t.Errorf("the message is still there: %s", a.body)
	}
}
