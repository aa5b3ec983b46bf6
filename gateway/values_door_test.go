package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// A request that would take hundreds of times its length in memory is refused
// while it is read.
func TestTooManyValues(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	const values = 300_000
	h.do(t, http.MethodPost, "/v1/accounts/a/submissions", `{"to":[`+strings.Repeat("{},", values)+`{}]}`).
		refused(t, http.StatusBadRequest, "BODY_INVALID")

	req := &posternv1.CreateSubmissionRequest{Parent: "accounts/a", Submission: &posternv1.Submission{To: make([]*posternv1.Address, values)}}
	for i := range req.Submission.To {
		req.Submission.To[i] = &posternv1.Address{}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	_, err := posternv1.NewSubmissionServiceClient(h.grpc).CreateSubmission(ctx, req)
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "more values") {
		t.Errorf("error %v", err)
	}
}
