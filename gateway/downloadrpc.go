package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/message"
)

// DownloadMessage implements MessageService.
func (s *messageService) DownloadMessage(req *posternv1.DownloadMessageRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	return s.downloadRaw(stream.Context(), req, &grpcSink{stream: stream})
}

// DownloadAttachment implements MessageService.
func (s *messageService) DownloadAttachment(req *posternv1.DownloadAttachmentRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	return s.downloadPart(stream.Context(), req, &grpcSink{stream: stream})
}

// grpcSink sends a download as chunks. The first has the content type; the
// file's name is in the metadata, as it would be in HTTP.
type grpcSink struct {
	stream grpc.ServerStreamingServer[httpbody.HttpBody]
	first  *httpbody.HttpBody
}

func (s *grpcSink) begin(f file) error {
	s.first = &httpbody.HttpBody{ContentType: f.contentType}
	if err := s.stream.SendHeader(metadata.Pairs("content-disposition", message.ContentDisposition(f.name))); err != nil {
		return err
	}
	if f.size == 0 {
		return s.stream.Send(s.first) // nothing follows that could carry it
	}
	return nil
}

func (s *grpcSink) Write(p []byte) (int, error) {
	chunk := &httpbody.HttpBody{Data: p}
	if s.first != nil {
		chunk.ContentType = s.first.GetContentType()
		s.first = nil
	}
	// Send has encoded the chunk when it returns, so p may be used again.
	if err := s.stream.Send(chunk); err != nil {
		return 0, err
	}
	return len(p), nil
}

// downloadMessage serves GET /v1/{name=accounts/*/messages/*}:raw.
func (g *Gateway) downloadMessage(w http.ResponseWriter, r *http.Request, path map[string]string) {
	g.byHand(w, r, posternv1.MessageService_DownloadMessage_FullMethodName, func(ctx context.Context) error {
		req := &posternv1.DownloadMessageRequest{Name: path["name"]}
		if err := g.checkDownload(ctx, r, req); err != nil {
			return err
		}
		return g.messages.downloadRaw(ctx, req, newHTTPSink(ctx, w, g.cfg.Limits.StallTimeout))
	})
}

// downloadAttachment serves GET
// /v1/{name=accounts/*/messages/*/attachments/*}:download.
func (g *Gateway) downloadAttachment(w http.ResponseWriter, r *http.Request, path map[string]string) {
	g.byHand(w, r, posternv1.MessageService_DownloadAttachment_FullMethodName, func(ctx context.Context) error {
		req := &posternv1.DownloadAttachmentRequest{Name: path["name"]}
		if err := g.checkDownload(ctx, r, req); err != nil {
			return err
		}
		return g.messages.downloadPart(ctx, req, newHTTPSink(ctx, w, g.cfg.Limits.StallTimeout))
	})
}

func (g *Gateway) checkDownload(ctx context.Context, r *http.Request, req any) error {
	if r.URL.RawQuery != "" {
		return refuse(codes.InvalidArgument, reasonArgumentInvalid, "A download takes no parameters.")
	}
	return g.calls.check(ctx, req)
}

// httpSink writes a download as an HTTP answer.
type httpSink struct {
	w       http.ResponseWriter
	control *http.ResponseController
	head    bool
	stall   time.Duration
}

func newHTTPSink(ctx context.Context, w http.ResponseWriter, stall time.Duration) *httpSink {
	return &httpSink{w: w, control: http.NewResponseController(w), head: isHead(ctx), stall: stall}
}

func (s *httpSink) begin(f file) error {
	header := s.w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Disposition", message.ContentDisposition(f.name))
	// What strangers sent must not run as if it came from here.
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	if f.size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(f.size, 10))
	}
	s.w.WriteHeader(http.StatusOK)
	if s.head {
		return errHeadOnly
	}
	return nil
}

// Write gives the client a fresh time for each piece: a download may take as
// long as it makes progress.
func (s *httpSink) Write(p []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err != nil {
		return n, clientGone(err)
	}
	return n, nil
}
