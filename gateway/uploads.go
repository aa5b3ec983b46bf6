package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/submit"
)

// uploadPattern is the route that takes a file as it is.
const uploadPattern = "/v1/{parent=accounts/*}/uploads"

// isUpload reports whether a request is one to that route, whose body may be larger
// than others, and take longer.
func isUpload(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/accounts/")
	account, ok2 := strings.CutSuffix(rest, "/uploads")
	return r.Method == http.MethodPost && ok && ok2 && !strings.Contains(account, "/")
}

// uploadService implements UploadService.
type uploadService struct {
	posternv1.UnimplementedUploadServiceServer
	accounts accountReader
	store    *submit.Store
}

// CreateUpload implements UploadService.
func (s *uploadService) CreateUpload(stream grpc.ClientStreamingServer[posternv1.CreateUploadRequest, posternv1.Upload]) error {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if first.GetTarget() == nil {
		return refuseField("target", reasonArgumentInvalid, "The first request of an upload must have its target.")
	}
	out, err := s.create(stream.Context(), first.GetTarget(), 0, func(to io.Writer) error {
		return receiveAll(to, func() ([]byte, bool, error) {
			next, err := stream.Recv()
			return next.GetData(), next.GetTarget() != nil, err
		})
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(out)
}

// create stores a file. Its size is given where it is known before, else 0. receive
// writes it.
func (s *uploadService) create(
	ctx context.Context, target *posternv1.CreateUploadRequest_Target, size int64, receive func(io.Writer) error,
) (*posternv1.Upload, error) {
	a, err := s.accounts.Get(ctx, accountID(target.GetParent()))
	if err != nil {
		return nil, err
	}
	attachment := compose.Attachment{Filename: target.GetFilename(), ContentType: target.GetContentType()}
	if wrong := attachment.Check("target"); len(wrong) > 0 {
		return nil, refuseContent("", wrong)
	}
	upload := submit.Upload{Account: a.ID, Filename: target.GetFilename(), ContentType: attachment.MediaType(), Size: size}
	made, err := s.store.CreateUpload(ctx, upload, func(w io.Writer) error { return receive(&limitedWriter{w: w, left: maxMessage}) })
	if err != nil {
		return nil, err
	}
	return &posternv1.Upload{
		Name: "uploads/" + made.ID, Filename: made.Filename, ContentType: made.ContentType, Size: made.Size, ExpireTime: timeProto(made.ExpireTime),
	}, nil
}

// createUpload serves POST on uploadPattern.
func (g *Gateway) createUpload(w http.ResponseWriter, r *http.Request, path map[string]string) {
	g.byHand(w, r, posternv1.UploadService_CreateUpload_FullMethodName, func(ctx context.Context) error {
		target := &posternv1.CreateUploadRequest_Target{Parent: path["parent"], ContentType: r.Header.Get("Content-Type")}
		for name, values := range r.URL.Query() {
			if failed := parseParameter(target, []string{"filename"}, name, values); failed != nil {
				return failed
			}
		}
		if err := g.calls.check(ctx, &posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Target_{Target: target}}); err != nil {
			return err
		}
		out, err := g.uploads.create(ctx, target, r.ContentLength, func(to io.Writer) error {
			_, err := io.CopyBuffer(to, uploadReader{r.Body}, make([]byte, copyBuffer))
			return err
		})
		if err != nil {
			return err
		}
		return writeJSON(w, out)
	})
}
