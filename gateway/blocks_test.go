package gateway_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/emersion/go-smtp"
	"google.golang.org/grpc/status"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/smtptest"
)

func (s *sender) block(t *testing.T, address string) object {
	t.Helper()
	return s.do(t, http.MethodPost, "/v1/"+s.name+"/blocks", object{"address": address, "reason": "asked to"}).ok(t)
}

func TestBlocksOverREST(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	made := s.block(t, "Bob@Example.com")
	if made["address"] != "Bob@Example.com" || made["origin"] != "API" || made["createTime"] == nil {
		t.Errorf("made %v", made)
	}
	if again := s.block(t, "bob@example.COM"); fmt.Sprint(again) != fmt.Sprint(made) {
		t.Errorf("again %v", again)
	}
	name := "/v1/" + made["name"].(string)
	if got := s.get(t, name); fmt.Sprint(got) != fmt.Sprint(made) {
		t.Errorf("got %v", got)
	}
	path := "/v1/" + s.name + "/blocks"
	if found := list(s.get(t, path+values("address", "BOB@example.com")), "blocks"); len(found) != 1 {
		t.Errorf("found %v", found)
	}
	if found := list(s.get(t, path+values("address", "eve@example.com")), "blocks"); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	s.do(t, http.MethodPost, path, object{"address": "bob"}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.do(t, http.MethodPost, "/v1/accounts/nobody/blocks", object{"address": "bob@example.com"}).refused(t, http.StatusNotFound, "ACCOUNT_NOT_FOUND")
	s.do(t, http.MethodDelete, name, nil).ok(t)
	s.do(t, http.MethodGet, name, nil).refused(t, http.StatusNotFound, "BLOCK_NOT_FOUND")
	s.do(t, http.MethodDelete, name, nil).refused(t, http.StatusNotFound, "BLOCK_NOT_FOUND")
}

func TestBlocksOverGRPC(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	client := posternv1.NewBlockServiceClient(s.grpc)
	ctx := asAdmin(t.Context())
	want := map[string]bool{}
	for i := range 5 {
		made, err := client.CreateBlock(ctx, &posternv1.CreateBlockRequest{Parent: s.name, Block: &posternv1.Block{Address: fmt.Sprintf("r%d@example.com", i)}})
		if err != nil {
			t.Fatal(err)
		}
		want[made.GetName()] = true
	}
	for req := (&posternv1.ListBlocksRequest{Parent: s.name, PageSize: 2}); ; {
		page, err := client.ListBlocks(ctx, req)
		if err != nil || len(page.GetBlocks()) > 2 {
			t.Fatal(page, err)
		}
		for _, b := range page.GetBlocks() {
			if !want[b.GetName()] {
				t.Errorf("listed %v", b)
			}
			delete(want, b.GetName())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
	_, err := client.GetBlock(ctx, &posternv1.GetBlockRequest{Name: s.name + "/blocks/none"})
	if reasonOf(status.Convert(err)) != "BLOCK_NOT_FOUND" {
		t.Errorf("%v", err)
	}
}

func TestBlockedAddressesGetNoMail(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	block := s.block(t, "bob@bücher.example")
	content := object{"to": to("BOB@xn--bcher-kva.example", "eve@example.com"), "text": "x", "wait": "30s", "saveToSent": "NEVER"}
	got := s.submit(t, content).ok(t)
	if r := list(got, "recipients"); got["state"] != "PARTIALLY_REJECTED" || r[0]["state"] != "REJECTED" || r[1]["state"] != "SENT" ||
		r[0]["text"] != "The address is on the account's blocklist. It was not sent to." {
		t.Errorf("%v", got)
	}
	content["onBlocked"] = "REFUSE"
	if info := s.submit(t, content).refused(t, http.StatusBadRequest, "RECIPIENT_BLOCKED"); info["metadata"].(object)["address"] == "" {
		t.Errorf("%v", info)
	}
	// All of them: nothing reaches the server.
	only := s.submit(t, object{"to": to("bob@bücher.example"), "text": "x", "wait": "30s"}).ok(t)
	if only["state"] != "FAILED" {
		t.Errorf("%v", only)
	}
	merged := list(s.merge(t, object{
		"submission": object{"text": "x", "onBlocked": "REFUSE"},
		"recipients": []object{recipient("bob@bücher.example", nil), recipient("joe@example.com", nil)},
	}).ok(t), "results")
	if reason, _ := errorOf(t, merged[0]); reason != "RECIPIENT_BLOCKED" || merged[1]["submission"] == "" {
		t.Errorf("merged %v", merged)
	}
	for _, d := range s.smtp.Wait(t, 2) {
		if len(d.To) != 1 || d.To[0] != "eve@example.com" && d.To[0] != "joe@example.com" {
			t.Errorf("delivered to %v", d.To)
		}
	}
	// Unblocked, it can be sent to.
	s.do(t, http.MethodDelete, "/v1/"+block["name"].(string), nil).ok(t)
	s.do(t, http.MethodPost, "/v1/"+only["name"].(string)+":retry", object{}).ok(t)
	s.until(t, "/v1/"+only["name"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
}

// An address that is blocked while mail to it waits for its next attempt does not get
// it: the list is looked at before each, as it is for scheduled mail.
func TestBlocksHoldForMailThatWaits(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{Rcpt: func(to string) error {
		if to == "bob@example.com" {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}
		}
		return nil
	}})
	made := s.submit(t, object{"to": to("bob@example.com", "eve@example.com"), "text": "x", "saveToSent": "NEVER"}).ok(t)
	name := "/v1/" + made["name"].(string)
	s.until(t, name, func(a answer) bool { return list(a.json(t), "recipients")[0]["state"] == "DEFERRED" })
	s.block(t, "bob@example.com")
	s.until(t, name, func(a answer) bool { return a.json(t)["state"] == "PARTIALLY_REJECTED" })
	if r := list(s.get(t, name), "recipients"); r[0]["state"] != "REJECTED" || r[0]["text"] != "The address is on the account's blocklist. It was not sent to." || r[1]["state"] != "SENT" {
		t.Errorf("recipients %v", r)
	}
}
