package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
)

// handRoutes adds the routes that are not generated. Those of downloads take
// the place of generated ones, which would write a line break after each chunk
// and could not abort an answer that is under way.
func (g *Gateway) handRoutes(mux *runtime.ServeMux) error {
	for pattern, handler := range map[string]runtime.HandlerFunc{
		importPattern: g.importMessage,
		uploadPattern: g.createUpload,
	} {
		if err := mux.HandlePath(http.MethodPost, pattern, handler); err != nil {
			return err
		}
	}
	for pattern, handler := range map[string]runtime.HandlerFunc{
		"/v1/events:watch":                                        g.watchSSE,
		"/v1/{name=accounts/*/messages/*}:raw":                    g.downloadMessage,
		"/v1/{name=accounts/*/messages/*/attachments/*}:download": g.downloadAttachment,
	} {
		if err := mux.HandlePath(http.MethodGet, pattern, handler); err != nil {
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
	ctx := r.Context()
	_, err := g.calls.admit(ctx, method, authorization)
	if err == nil {
		err = call(ctx)
	}
	if err == nil || errors.Is(err, errHeadOnly) {
		return
	}
	failed := classify(ctx, g.calls.finish(ctx, method, err, nil))
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
