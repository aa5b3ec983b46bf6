package gateway_test

import (
	"net/http"
	"testing"
)

// TestParametersThatThereAreNot: they are refused on the routes of every service.
func TestParametersThatThereAreNot(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, path := range []string{
		"/v1/accounts", "/v1/accounts/a/folders", "/v1/accounts/a/messages", "/v1/accounts/a/drafts", "/v1/accounts/a/threads",
		"/v1/accounts/a/submissions", "/v1/accounts/a/events", "/v1/accounts/a/quota",
	} {
		h.do(t, http.MethodGet, path+"?pageSiez=1", nil).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	}
}
