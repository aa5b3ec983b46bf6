package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/submit"
)

// fullAt checks the form of a refusal by REST: which limit, and no time to come back.
func (a answer) fullAt(t *testing.T, limit string, value int) {
	t.Helper()
	info := a.refused(t, http.StatusTooManyRequests, "LIMIT_REACHED")
	if got := info["metadata"].(object); got["limit"] != limit || got["value"] != fmt.Sprint(value) {
		t.Errorf("told %v, want %s", got, limit)
	}
	if a.header.Get("Retry-After") != "" {
		t.Error("it says to come back, which is of no use")
	}
}

// wantFullAt checks the same by gRPC.
func wantFullAt(t *testing.T, err error, limit string) {
	t.Helper()
	wantStatus(t, err, codes.ResourceExhausted, "LIMIT_REACHED")
	if got := errorInfo(status.Convert(err))["limit"]; got != limit {
		t.Errorf("the limit is %q, want %s", got, limit)
	}
}

// boundedAccount is an account, whose outbox is bounded, and which can send.
func boundedAccount(t *testing.T, bounds submit.Bounds) (*house, string) {
	t.Helper()
	h := newHouse(t, options{outbox: bounds})
	name, _, _ := h.dovecot(t)
	h.do(t, http.MethodPatch, "/v1/"+name, object{"smtp": object{
		"host": "127.0.0.1", "port": 1, "tlsMode": "PLAINTEXT", "username": "a", "password": "b",
	}}).ok(t)
	return h, name
}

// uploadOverGRPC sends what an upload is, and pieces of it.
func uploadOverGRPC(t *testing.T, h *house, account string, pieces ...int) error {
	t.Helper()
	stream, err := posternv1.NewUploadServiceClient(h.grpc).CreateUpload(asAdmin(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	target := &posternv1.CreateUploadRequest_Target{Parent: account}
	err = stream.Send(&posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Target_{Target: target}})
	for _, size := range pieces {
		if err == nil {
			err = stream.Send(&posternv1.CreateUploadRequest{Piece: &posternv1.CreateUploadRequest_Data{Data: make([]byte, size)}})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if len(pieces) == 0 { // it does not say that this was all
		return stream.RecvMsg(&posternv1.Upload{})
	}
	_, err = stream.CloseAndRecv()
	return err
}

// An account has no more uploads than it may, by REST and gRPC together. One too many
// is refused before anything of it was sent.
func TestUploadsOfAnAccount(t *testing.T) {
	t.Parallel()
	h, account := boundedAccount(t, submit.Bounds{Uploads: 2})
	path := "/v1/" + account + "/uploads"
	first := h.do(t, http.MethodPost, path, "x").ok(t)
	if err := uploadOverGRPC(t, h, account, 1); err != nil {
		t.Fatal(err)
	}
	h.do(t, http.MethodPost, path, "x").fullAt(t, "uploads-per-account", 2)
	wantFullAt(t, uploadOverGRPC(t, h, account), "uploads-per-account")
	raw := dial(t, h.addr())
	if _, err := io.WriteString(raw, "POST "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nContent-Length: 50000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(raw); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 429 ") {
		t.Errorf("an upload that is announced: %v, %q", err, answer)
	}
	// What a message is made of makes room.
	later := time.Now().Add(time.Hour).Format(time.RFC3339)
	h.do(t, http.MethodPost, "/v1/"+account+"/submissions", object{
		"to": to("bob@example.com"), "sendTime": later, "attachments": []object{{"upload": first["name"]}},
	}).ok(t)
	h.until(t, "/healthz", func(answer) bool { return h.do(t, http.MethodPost, path, "x").status == http.StatusOK })
}

// Uploads and messages of an account are not larger together than they may be, whether
// or not their size is told before.
func TestBytesOfAnAccount(t *testing.T) {
	t.Parallel()
	h, account := boundedAccount(t, submit.Bounds{MiB: 2})
	path := "/v1/" + account + "/uploads"
	h.do(t, http.MethodPost, path, strings.Repeat("x", 1<<20)).ok(t)
	h.do(t, http.MethodPost, path, strings.Repeat("x", 2<<20)).fullAt(t, "outbox-mib-per-account", 2)
	h.do(t, http.MethodPost, path, io.LimitReader(zeros{}, 20<<20)).fullAt(t, "outbox-mib-per-account", 2)
	wantFullAt(t, uploadOverGRPC(t, h, account, 1<<20, 1<<20), "outbox-mib-per-account")
	raw := strings.Repeat("0123456789\r\n", 100_000)
	later := time.Now().Add(time.Hour)
	message := object{"to": to("bob@example.com"), "text": raw, "sendTime": later.Format(time.RFC3339)}
	h.do(t, http.MethodPost, "/v1/"+account+"/submissions", message).fullAt(t, "outbox-mib-per-account", 2)
	// Nothing is left of all these, once it is counted again.
	h.until(t, "/healthz", func(answer) bool {
		return h.do(t, http.MethodPost, path, strings.Repeat("x", 1<<20)).status == http.StatusOK
	})
	_, err := posternv1.NewSubmissionServiceClient(h.grpc).CreateSubmission(asAdmin(t.Context()), &posternv1.CreateSubmissionRequest{
		Parent: account, Submission: &posternv1.Submission{To: []*posternv1.Address{{Address: "bob@example.com"}}, Text: raw, SendTime: timestamppb.New(later)},
	})
	wantFullAt(t, err, "outbox-mib-per-account")
}

// Mail that is to be sent some day is bounded, in whichever way it is given; a repeated
// call gives what there is.
func TestSubmissionsOfAnAccount(t *testing.T) {
	t.Parallel()
	h, account := boundedAccount(t, submit.Bounds{Submissions: 2})
	later := time.Now().Add(300 * 24 * time.Hour).Format(time.RFC3339)
	create := func(key string) answer {
		return h.do(t, http.MethodPost, "/v1/"+account+"/submissions", object{"to": to("bob@example.com"), "text": "x", "sendTime": later}, "Idempotency-Key", key)
	}
	first := create("1").ok(t)["name"]
	create("2").ok(t)
	create("3").fullAt(t, "submissions-per-account", 2)
	if again := create("1").ok(t)["name"]; again != first {
		t.Errorf("the repeated call gave %v, want %v", again, first)
	}
	_, err := posternv1.NewSubmissionServiceClient(h.grpc).CreateSubmission(asAdmin(t.Context()), &posternv1.CreateSubmissionRequest{
		Parent: account, Submission: &posternv1.Submission{Raw: []byte("From: a@b.example\r\nTo: b@c.example\r\n\r\nx\r\n")},
	})
	wantFullAt(t, err, "submissions-per-account")
	merged := h.do(t, http.MethodPost, "/v1/"+account+"/submissions:merge", object{
		"submission": object{"text": "x", "sendTime": later}, "recipients": []object{{"to": object{"address": "bob@example.com"}}},
	}).ok(t)
	if results := fmt.Sprint(merged["results"]); !strings.Contains(results, "LIMIT_REACHED") || !strings.Contains(results, "submissions-per-account") {
		t.Errorf("a merge: %v", merged)
	}
	h.get(t, "/v1/"+account+"/submissions")
}

// The blocklist of an account is bounded.
func TestBlocksOfAnAccount(t *testing.T) {
	t.Parallel()
	h, account := boundedAccount(t, submit.Bounds{Blocks: 1})
	block := func(address string) answer {
		return h.do(t, http.MethodPost, "/v1/"+account+"/blocks", object{"address": address})
	}
	block("a@example.com").ok(t)
	block("b@example.com").fullAt(t, "blocks-per-account", 1)
	block("a@example.com").ok(t)
	_, err := posternv1.NewBlockServiceClient(h.grpc).CreateBlock(asAdmin(t.Context()), &posternv1.CreateBlockRequest{
		Parent: account, Block: &posternv1.Block{Address: "b@example.com"},
	})
	wantFullAt(t, err, "blocks-per-account")
}
