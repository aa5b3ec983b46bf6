package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/postern-mail/postern/internal/access"
)

// handWritten has the routes that are not generated, by method and pattern.
var handWritten = map[string]func(*Gateway, http.ResponseWriter, *http.Request, map[string]string){
	"POST " + importPattern:                                       (*Gateway).importMessage,
	"POST " + uploadPattern:                                       (*Gateway).createUpload,
	"GET " + watchPath:                                            (*Gateway).watchSSE,
	"GET /v1/{name=accounts/*/messages/*}:raw":                    (*Gateway).downloadMessage,
	"GET /v1/{name=accounts/*/messages/*/attachments/*}:download": (*Gateway).downloadAttachment,
}

// handRoutes adds the routes that are not generated. Those of downloads take
// the place of generated ones, which would write a line break after each chunk
// and could not abort an answer that is under way.
func (g *Gateway) handRoutes(mux *runtime.ServeMux) error {
	for route, handler := range handWritten {
		method, pattern, _ := strings.Cut(route, " ")
		err := mux.HandlePath(method, pattern, func(w http.ResponseWriter, r *http.Request, path map[string]string) {
			handler(g, w, r, path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// byHand runs a hand-written route as the call that it stands for: with the
// same authentication and the same error model. An error after the answer has
// begun cuts the connection, so that a short answer never looks whole.
func (g *Gateway) byHand(w http.ResponseWriter, r *http.Request, method string, call func(ctx context.Context) error) {
	g.admitByHand(w, r, method, r.Header.Values("Authorization"), call)
}

func (g *Gateway) admitByHand(
	w http.ResponseWriter, r *http.Request, method string, authorization []string, call func(ctx context.Context) error,
) {
	audited := called{method: method, begin: time.Now()}
	audited.names.inPath(r)
	ctx, err := g.calls.admit(r.Context(), method, authorization)
	outcome := error(refuse(codes.Internal, reasonInternal, "It panicked."))
	defer func() { g.calls.audit.note(ctx, audited, outcome) }()
	if err == nil && access.From(r.Context()).ID == "" { // a ticket says who it is
		var held *place
		if held, err = g.entrance.ticketed(r, access.From(ctx)); err == nil {
			defer held.give()
		}
	}
	if err == nil && isWatch(method) {
		begun := audited
		begun.begun = true
		g.calls.audit.note(ctx, begun, nil)
	}
	if err == nil {
		var end func()
		ctx, end = whileValid(ctx)
		defer end()
		defer cutOff(ctx, w)()
		err = call(ctx)
	}
	if err == nil || errors.Is(err, errHeadOnly) {
		outcome = nil
		return
	}
	failed := classify(ctx, g.calls.finish(ctx, method, err, nil))
	outcome = failed
	if answer, ok := w.(*answerWriter); ok && answer.status != 0 {
		noteError(ctx, failed.GRPCStatus())
		panic(http.ErrAbortHandler)
	}
	writeError(w, r, failed)
}

func durationMillis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// writeJSON writes an answer in the form of those that are generated.
func writeJSON(w http.ResponseWriter, answer proto.Message) error {
	body, err := wireJSON.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}
