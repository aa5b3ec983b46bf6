package gateway_test

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func TestCommandsForAccounts(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	path := "/v1/accounts/" + freshID()
	created := h.do(t, http.MethodPost, "/v1/accounts?accountId="+path[len("/v1/accounts/"):], newAccount("ann@example.com")).ok(t)
	for _, step := range []struct{ verb, state string }{
		{"reconnect", "CONNECTING"}, {"resync", "CONNECTING"}, {"pause", "PAUSED"}, {"pause", "PAUSED"}, {"resume", "CONNECTING"}, {"resume", "CONNECTING"},
	} {
		got := h.do(t, http.MethodPost, path+":"+step.verb, object{}).ok(t)
		if got["state"] != step.state || got["name"] != created["name"] {
			t.Errorf(":%s answers %v", step.verb, got)
		}
		if read := h.get(t, path); read["state"] != step.state {
			t.Errorf("after :%s the state is %v", step.verb, read["state"])
		}
	}
	h.do(t, http.MethodPost, path+":pause", object{}).ok(t)
	for _, verb := range []string{"reconnect", "resync"} {
		h.do(t, http.MethodPost, path+":"+verb, object{}).refused(t, 400, "ACCOUNT_PAUSED")
	}
	for _, verb := range []string{"pause", "resume", "reconnect", "resync"} {
		h.do(t, http.MethodPost, "/v1/accounts/nobody:"+verb, object{}).refused(t, 404, "ACCOUNT_NOT_FOUND")
	}

	client, ctx, name := posternv1.NewAccountServiceClient(h.grpc), asAdmin(t.Context()), created["name"].(string)
	_, err := client.ResyncAccount(ctx, &posternv1.ResyncAccountRequest{Name: name})
	wantStatus(t, err, codes.FailedPrecondition, "ACCOUNT_PAUSED")
	_, err = client.ReconnectAccount(ctx, &posternv1.ReconnectAccountRequest{Name: name})
	wantStatus(t, err, codes.FailedPrecondition, "ACCOUNT_PAUSED")
	resumed, err := client.ResumeAccount(ctx, &posternv1.ResumeAccountRequest{Name: name})
	if err != nil || resumed.GetState() != posternv1.Account_CONNECTING {
		t.Errorf("resumed %v, %v", resumed, err)
	}
	paused, err := client.PauseAccount(ctx, &posternv1.PauseAccountRequest{Name: name})
	if err != nil || paused.GetState() != posternv1.Account_PAUSED {
		t.Errorf("paused %v, %v", paused, err)
	}
	_, err = client.PauseAccount(ctx, &posternv1.PauseAccountRequest{Name: "nonsense"})
	wantStatus(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
}

// What is told of old mail is settled once.
func TestBackfillIsSettledAtCreation(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	plain := h.do(t, http.MethodPost, "/v1/accounts", newAccount("ann@example.com")).ok(t)
	if plain["backfill"] != "NONE" {
		t.Errorf("the default is %v", plain["backfill"])
	}
	asked := newAccount("ann@example.com")
	asked["backfill"] = "ENVELOPES"
	created := h.do(t, http.MethodPost, "/v1/accounts", asked).ok(t)
	if created["backfill"] != "ENVELOPES" {
		t.Errorf("created with %v", created["backfill"])
	}
	path := "/v1/" + created["name"].(string)
	if got := h.do(t, http.MethodPatch, path+"?updateMask=*", asked).ok(t); got["backfill"] != "ENVELOPES" {
		t.Errorf("after an update of all: %v", got["backfill"])
	}
	h.do(t, http.MethodPatch, path, object{"backfill": "NONE"}).refused(t, 400, "ARGUMENT_INVALID")
	asked["backfill"] = "EVERYTHING"
	h.do(t, http.MethodPost, "/v1/accounts", asked).refused(t, 400, "BODY_INVALID")
	asked["backfill"] = 7
	h.do(t, http.MethodPost, "/v1/accounts", asked).refused(t, 400, "ARGUMENT_INVALID")
}
