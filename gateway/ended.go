package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/access"
)

// errTokenEnded is the cause with which the context of a call ends when its
// caller may no longer make it.
var errTokenEnded = errors.New("the caller's token has ended")

// endedPatience bounds how long a client whose token has ended may take for the
// rest of an answer, that it has ended among it.
const endedPatience = time.Second

// tokenEnded is what becomes of a call whose caller may no longer make it.
func tokenEnded() *failure {
	return refuse(codes.Unauthenticated, reasonTokenInvalid,
		"While the call was under way, its token has expired, was revoked, or was allowed something else.")
}

// whileValid gives the context of a call that ends with the authority of its
// caller. end is to be called when the outcome of the call is known.
func whileValid(ctx context.Context) (_ context.Context, end func()) {
	over := access.From(ctx).Ended
	if over == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-over:
			cancel(errTokenEnded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// hasEnded reports whether the caller's authority ended before the call did.
func hasEnded(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errTokenEnded) }

// cutOff keeps a client whose token has ended from holding up a hand-written route
// by sending its request, or taking its answer, slowly or never. The function that
// it returns ends that, before the connection serves another request.
func cutOff(ctx context.Context, w http.ResponseWriter) (done func()) {
	control := http.NewResponseController(w)
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(finished)
		if !hasEnded(ctx) {
			return
		}
		if shared, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
			shared.ended.Store(true)
		}
		_ = control.SetReadDeadline(time.Now())
		_ = control.SetWriteDeadline(time.Now().Add(endedPatience))
	})
	return func() {
		if !stop() {
			<-finished
		}
	}
}
