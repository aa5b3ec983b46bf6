package gateway_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/smtptest"
)

func TestUploadsBecomeAttachments(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	content := strings.Repeat("col1,col2\n", 100_000)
	upload := s.do(t, http.MethodPost, "/v1/"+s.name+"/uploads"+values("filename", "table.csv"), content, "Content-Type", "text/csv; charset=utf-8").ok(t)
	if upload["size"] != fmt.Sprint(len(content)) || upload["filename"] != "table.csv" || upload["contentType"] != "text/csv; charset=utf-8" {
		t.Errorf("upload %v", upload)
	}
	message := object{"to": to("bob@example.com"), "text": "See", "attachments": []object{{"upload": upload["name"]}}}
	_, d, _ := s.sent(t, message)
	encoded := base64.StdEncoding.EncodeToString([]byte(content))
	if got := strings.ReplaceAll(string(d.Data), "\r\n", ""); !strings.Contains(got, encoded) || !strings.Contains(got, "filename=table.csv") {
		t.Errorf("it is not in the message of %d bytes", len(d.Data))
	}
	// It was used, and it is of this account alone.
	s.submit(t, message).refused(t, http.StatusNotFound, "UPLOAD_NOT_FOUND")
	other := newSender(t, smtptest.Config{})
	upload = s.do(t, http.MethodPost, "/v1/"+s.name+"/uploads", "x").ok(t)
	other.submit(t, object{"to": to("bob@example.com"), "attachments": []object{{"upload": upload["name"]}}}).refused(t, http.StatusNotFound, "UPLOAD_NOT_FOUND")
}

func TestUploadsOverGRPC(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	client := posternv1.NewUploadServiceClient(s.grpc)
	stream, err := client.CreateUpload(asAdmin(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	target := &posternv1.CreateUploadRequest_Target{Parent: s.name, Filename: "a.pdf"}
	for _, piece := range []*posternv1.CreateUploadRequest{
		{Piece: &posternv1.CreateUploadRequest_Target_{Target: target}},
		{Piece: &posternv1.CreateUploadRequest_Data{Data: []byte("%P")}},
		{Piece: &posternv1.CreateUploadRequest_Data{Data: []byte("DF")}},
	} {
		if err := stream.Send(piece); err != nil {
			t.Fatal(err)
		}
	}
	upload, err := stream.CloseAndRecv()
	if err != nil || upload.GetSize() != 4 || upload.GetContentType() != "application/pdf" {
		t.Errorf("%v, %v", upload, err)
	}
}

func TestUploadsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newSender(t, smtptest.Config{})
	path := "/v1/" + s.name + "/uploads"
	s.do(t, http.MethodPost, path+values("name", "x"), "x").refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.do(t, http.MethodPost, path+values("filename", "a\nb"), "x").refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.do(t, http.MethodPost, path, "x", "Content-Type", "multipart/mixed; boundary=x").refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	s.do(t, http.MethodPost, "/v1/accounts/nobody/uploads", "x").refused(t, http.StatusNotFound, "ACCOUNT_NOT_FOUND")
	s.do(t, http.MethodPost, path, io.LimitReader(zeros{}, 101<<20)).refused(t, http.StatusRequestEntityTooLarge, "MESSAGE_TOO_LARGE")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A message with a file of 30 MB, which takes 41 in base64, is sent in little memory.
func TestLargeMailInConstantMemory(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	s := newSender(t, smtptest.Config{SizeOnly: true})
	const size = 30 << 20
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.logged.String())
		}
	})
	peak := watchHeap(t)
	upload := s.do(t, http.MethodPost, "/v1/"+s.name+"/uploads", io.LimitReader(zeros{}, size)).ok(t)
	made := s.submit(t, object{
		"to": to("bob@example.com"), "text": "x", "attachments": []object{{"upload": upload["name"]}}, "wait": "30s", "saveToSent": "NEVER",
	}).ok(t)
	s.until(t, "/v1/"+made["name"].(string), func(a answer) bool { return a.json(t)["state"] == "SENT" })
	grown := peak()
	t.Logf("the heap grew by %d KiB at most", grown>>10)
	if d := s.smtp.Wait(t, 1)[0]; d.Size < size*4/3 {
		t.Errorf("%d bytes were delivered", d.Size)
	}
	// The NATS server in this process keeps some of what it has just written, about
	// 40 MiB of it; a message that was held whole would come on top.
	if grown > 64<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}
