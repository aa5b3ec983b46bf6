package gateway

import (
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// importPattern is the route that takes a message as it is.
const importPattern = "/v1/{parent=accounts/*}/messages:import"

var targetFields = (&posternv1.ImportMessageRequest_Target{}).ProtoReflect().Descriptor()

// isImport reports whether a request is one to that route, whose body may be
// larger than others, and take longer.
func isImport(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/accounts/") && strings.HasSuffix(r.URL.Path, "/messages:import")
}

// importMessage serves POST on importPattern.
func (g *Gateway) importMessage(w http.ResponseWriter, r *http.Request, path map[string]string) {
	g.byHand(w, r, posternv1.MessageService_ImportMessage_FullMethodName, func(ctx context.Context) error {
		target, err := importTarget(r, path["parent"])
		if err != nil {
			return err
		}
		if err := g.calls.check(ctx, &posternv1.ImportMessageRequest{Piece: &posternv1.ImportMessageRequest_Target_{Target: target}}); err != nil {
			return err
		}
		out, err := g.messages.importMessage(ctx, target, r.ContentLength, func(to io.Writer) error {
			_, err := io.CopyBuffer(to, uploadReader{r.Body}, make([]byte, copyBuffer))
			return err
		})
		if err != nil {
			return err
		}
		return writeJSON(w, out)
	})
}

// uploadReader tells that it was the client who broke off.
type uploadReader struct{ io.Reader }

func (b uploadReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a Reader returns it bare
		err = refuse(codes.Canceled, reasonCanceled, "The message was not received to its end.").because(err)
	}
	return n, err
}

// importTarget reads the target of an import from the parameters.
func importTarget(r *http.Request, parent string) (*posternv1.ImportMessageRequest_Target, error) {
	given := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err != nil || media != "message/rfc822" && media != "message/global" {
		return nil, refuse(codes.InvalidArgument, reasonArgumentInvalid,
			"The content type must be message/rfc822, and the body the message; it is %q.", said(given))
	}
	// The path has the parent.
	allowed := slices.DeleteFunc(parametersOf(targetFields, "", importPattern), func(name string) bool { return name == "parent" })
	target := &posternv1.ImportMessageRequest_Target{}
	for name, values := range r.URL.Query() {
		if failed := parseParameter(target, allowed, name, values); failed != nil {
			return nil, failed
		}
	}
	target.Parent = parent
	return target, applyIdempotencyKey(target, r.Header.Values("Idempotency-Key"))
}
