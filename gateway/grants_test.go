package gateway_test

import (
	"net/http"
	"testing"

	"github.com/postern-mail/postern/internal/access"
)

// give makes a token with a grant.
func (h *house) give(t testing.TB, grant access.Grant) holder {
	t.Helper()
	return h.admin().makes(t, tokenOf(grant))
}

// tokenOf is a grant as the API has it.
func tokenOf(grant access.Grant) object {
	accounts := make([]string, len(grant.Accounts))
	for i, id := range grant.Accounts {
		accounts[i] = "accounts/" + id
	}
	return object{"scopes": grant.Scopes, "accounts": accounts, "accountLabels": grant.Labels}
}

// labelled is an account with a label.
func (h *house) labelled(t testing.TB, key, value string) string {
	t.Helper()
	name := h.account(t)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"labels": object{key: value}}).ok(t)
	return name
}
