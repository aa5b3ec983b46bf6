package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/textproto"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// wireJSON is the JSON of the API: lowerCamelCase and every field out, both
// forms of names in, and nothing unknown, because a misspelt field that is
// silently ignored is the dearest kind of typing error.
var wireJSON = &strictJSON{runtime.JSONPb{
	MarshalOptions:   protojson.MarshalOptions{EmitUnpopulated: true},
	UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
}}

// strictJSON refuses what follows a body's value. The decoder of [runtime]
// leaves it unread, as the next value of a stream.
type strictJSON struct{ runtime.JSONPb }

// jsonPerByte is about how much longer JSON with all fields is than the wire
// form. It only spares the buffer from growing.
const jsonPerByte = 3

// Marshal implements [runtime.Marshaler].
func (j *strictJSON) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return j.JSONPb.Marshal(v)
	}
	return j.MarshalAppend(make([]byte, 0, jsonPerByte*proto.Size(m)), m)
}

var errAfterBody = errors.New("there is more after the JSON value")

// NewDecoder implements [runtime.Marshaler].
func (j *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	values := json.NewDecoder(&valueCounter{Reader: r})
	decoder := runtime.DecoderWrapper{Decoder: values, UnmarshalOptions: j.UnmarshalOptions}
	return runtime.DecoderFunc(func(v any) error {
		if err := decoder.Decode(v); err != nil {
			return err
		}
		if _, err := values.Token(); !errors.Is(err, io.EOF) {
			return errAfterBody
		}
		return nil
	})
}

// newMux builds the REST routes in front of a connection to the services.
func newMux(ctx context.Context, conn grpc.ClientConnInterface) (*runtime.ServeMux, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, wireJSON),
		runtime.WithIncomingHeaderMatcher(incomingHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			return metadata.Pairs(headerRequestID, requestID(ctx))
		}),
		runtime.WithErrorHandler(func(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			writeError(w, r, restFailure(ctx, err))
		}),
		runtime.WithRoutingErrorHandler(routingError),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
		runtime.WithMiddlewares(refuseInvalidText, refuseInvalidQuery),
	)
	for _, err := range []error{
		posternv1.RegisterAccountServiceHandlerClient(ctx, mux, posternv1.NewAccountServiceClient(conn)),
		posternv1.RegisterFolderServiceHandlerClient(ctx, mux, posternv1.NewFolderServiceClient(conn)),
		posternv1.RegisterMessageServiceHandlerClient(ctx, mux, posternv1.NewMessageServiceClient(conn)),
		posternv1.RegisterDraftServiceHandlerClient(ctx, mux, posternv1.NewDraftServiceClient(conn)),
		posternv1.RegisterThreadServiceHandlerClient(ctx, mux, posternv1.NewThreadServiceClient(conn)),
		posternv1.RegisterSubmissionServiceHandlerClient(ctx, mux, posternv1.NewSubmissionServiceClient(conn)),
		posternv1.RegisterEventServiceHandlerClient(ctx, mux, posternv1.NewEventServiceClient(conn)),
		posternv1.RegisterWebhookServiceHandlerClient(ctx, mux, posternv1.NewWebhookServiceClient(conn)),
		posternv1.RegisterBlockServiceHandlerClient(ctx, mux, posternv1.NewBlockServiceClient(conn)),
		posternv1.RegisterTemplateServiceHandlerClient(ctx, mux, posternv1.NewTemplateServiceClient(conn)),
		posternv1.RegisterTokenServiceHandlerClient(ctx, mux, posternv1.NewTokenServiceClient(conn)),
		posternv1.RegisterAuditServiceHandlerClient(ctx, mux, posternv1.NewAuditServiceClient(conn)),
	} {
		if err != nil {
			return nil, err
		}
	}
	return mux, nil
}

// incomingHeader lets the one header through that a service reads. The mux
// itself forwards Authorization, and takes Grpc-Timeout.
func incomingHeader(key string) (string, bool) {
	if textproto.CanonicalMIMEHeaderKey(key) == "Idempotency-Key" {
		return headerIdempotencyKey, true
	}
	return "", false
}

// noHeader keeps gRPC metadata out of HTTP answers.
func noHeader(string) (string, bool) { return "", false }

// routingError answers requests that no route takes.
func routingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusNotFound:
		writeError(w, r, routeNotFound(r))
	case http.StatusMethodNotAllowed:
		if w.Header().Get("Allow") == "" {
			w.Header().Set("Allow", allowedMethods(r.URL.Path))
		}
		writeError(w, r, refuse(codes.Unimplemented, reasonMethodNotAllowed,
			"%s does not take the method %s, but %s: see /docs.", said(r.URL.Path), said(r.Method), w.Header().Get("Allow")))
	default:
		writeError(w, r, refuse(codes.InvalidArgument, reasonArgumentInvalid, "The path of the request is malformed."))
	}
}

func routeNotFound(r *http.Request) *failure {
	return refuse(codes.NotFound, reasonRouteNotFound, "There is nothing at %s: see /docs.", said(r.URL.Path))
}

// restFailure gives an error of the mux its form. Those of the services have
// it already; the rest are about the request's body or parameters.
func restFailure(ctx context.Context, err error) statusError {
	var malformed runtime.MalformedSequenceError
	if errors.As(err, &malformed) {
		return refuse(codes.InvalidArgument, reasonArgumentInvalid, "The path of the request is malformed.")
	}
	s := status.Convert(err)
	if reasonOf(s) != "" {
		return s
	}
	if tooLarge, ok := bodyTooLarge(ctx); ok {
		return tooLarge
	}
	if s.Code() == codes.InvalidArgument {
		return refuse(codes.InvalidArgument, reasonBodyInvalid, "The request cannot be read: %s", said(s.Message()))
	}
	return failureOfStatus(s)
}

// statusError is a failure or a status that has come over the wire.
type statusError interface{ Err() error }

// Err gives the failure as an error.
func (f *failure) Err() error { return f }

// httpStatus is the HTTP status of an error: that of its code, except where
// HTTP has a better one.
func httpStatus(s *status.Status) int {
	switch reasonOf(s) {
	case reasonMessageTooLarge, reasonBodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case reasonMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case reasonRouteNotFound:
		return http.StatusNotFound
	}
	return runtime.HTTPStatusFromCode(s.Code())
}

// writeError answers a request with an error, in the form that all errors
// have. Nothing must have been written before.
func writeError(w http.ResponseWriter, r *http.Request, failed statusError) {
	s := status.Convert(failed.Err())
	body, err := wireJSON.Marshal(s.Proto())
	if err != nil {
		body = []byte(`{"code":13,"message":"the error cannot be shown","details":[]}`)
	}
	header := w.Header()
	for _, name := range []string{"Trailer", "Transfer-Encoding", "Content-Disposition", "Content-Length"} {
		header.Del(name)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if s.Code() == codes.Unauthenticated {
		header.Set("WWW-Authenticate", `Bearer realm="postern"`) // RFC 6750 section 3
	}
	if wait, ok := retryDelay(s); ok {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds())))) // RFC 9110 section 10.2.3
	}
	noteError(r.Context(), s)
	w.WriteHeader(httpStatus(s))
	// A client that has left cannot be told anything.
	_, _ = w.Write(body) //nolint:gosec // JSON, by its type and with nosniff, is no page
}
