package gateway

import (
	"context"
	"crypto/rand"
	"regexp"
)

type requestIDKey struct{}

// A caller's own id is taken over if it is harmless in a log and in a header.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:/+=-]{1,128}$`)

// withRequestID puts the id of a request into the context: the one that the
// caller gave, or a new one.
func withRequestID(ctx context.Context, given []string) context.Context {
	id := rand.Text()
	if len(given) > 0 && requestIDPattern.MatchString(given[0]) {
		id = given[0]
	}
	return context.WithValue(ctx, requestIDKey{}, id)
}

// requestID is the id that the log has a request under, or "-".
func requestID(ctx context.Context) string {
	if id, ok := ctx.Value(requestIDKey{}).(string); ok {
		return id
	}
	return "-"
}
