package gateway

import (
	"context"
	"errors"
	"net/http"
)

type headKey struct{}

// headAsGet answers HEAD as GET. net/http leaves the content of the answer out
// (RFC 9110 section 9.3.2); what would be dear to make or has no end asks isHead.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// isHead reports whether only the header of the answer is wanted.
func isHead(ctx context.Context) bool {
	head, _ := ctx.Value(headKey{}).(bool)
	return head
}

// errHeadOnly ends the making of an answer of which only the header is wanted.
var errHeadOnly = errors.New("only the header of the answer is wanted")
