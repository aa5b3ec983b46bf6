package gateway_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/postern-mail/postern/gateway"
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/dovecottest"
	"github.com/postern-mail/postern/internal/requestid"
)

// What an earlier call with the same id may have done is looked for before it
// is done again.
func TestRepeatedAfterACallThatDied(t *testing.T) {
	t.Parallel()
	var store *requestid.Store
	h := newHouse(t, options{gateway: func(cfg *gateway.Config) { store = cfg.Requests }})
	server := dovecottest.Shared(t)
	user, password := server.User(t)
	account := h.register(t, server.Host(), server.Port(), user, password)
	inbox := h.folderNamed(t, account, "INBOX")["name"].(string)
	archive := h.folderNamed(t, account, "Archive")["name"].(string)
	// died leaves a request as a call does that lost its connection midway.
	died := func(method, id string, req proto.Message, more ...byte) {
		t.Helper()
		content, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		lost := errors.New("the connection is lost")
		_, err = store.Do(t.Context(), strings.TrimPrefix(account, "accounts/")+"/"+method, id, slices.Concat(content, more),
			func(context.Context, bool) (string, error) { return "", &requestid.UncertainError{Err: lost} })
		if !errors.Is(err, lost) {
			t.Fatal(err)
		}
	}
	imported := func(raw []byte, id string) object {
		t.Helper()
		return h.do(t, http.MethodPost, "/v1/"+account+"/messages:import"+values("folder", inbox, "requestId", id), string(raw), "Content-Type", "message/rfc822").ok(t)
	}
	for _, reached := range []bool{true, false} { // the server, by the call that died
		raw, id := mail("lost"), "id-lost"
		if reached {
			raw, id = mail("reached"), "id-reached"
		}
		digest := sha256.Sum256(raw)
		died("ImportMessage", id, &posternv1.ImportMessageRequest_Target{Parent: account, Folder: inbox}, digest[:]...)
		if reached {
			server.Deliver(t, user, "INBOX", raw)
		}
		first, again := imported(raw, id)["name"], imported(raw, id)["name"]
		if first != again || first == "" {
			t.Errorf("reached %v: %v became %v", reached, first, again)
		}
	}
	if got := subjects(h.get(t, "/v1/"+account+"/messages"+values("folder", inbox))); !slices.Equal(got, []string{"lost", "reached"}) {
		t.Errorf("imported %q", got)
	}

	name := h.newest(t, account)
	died("CopyMessage", "copy", &posternv1.CopyMessageRequest{Name: name, Folder: archive})
	server.Deliver(t, user, "Archive", mail("other"))
	copied := h.do(t, http.MethodPost, "/v1/"+name+":copy", object{"folder": archive, "requestId": "copy"}).ok(t)
	if copied["subject"] != "lost" || copied["folder"] != archive {
		t.Errorf("copied %v", copied)
	}
	if got := subjects(h.get(t, "/v1/"+account+"/messages"+values("folder", archive))); !slices.Equal(got, []string{"lost", "other"}) {
		t.Errorf("the target has %q", got)
	}
}
