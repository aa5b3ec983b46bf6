package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
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

// Nothing of a stranger's request is read but its header: what is wrong with the
// rest is not told, and takes no memory.
func TestStrangersAreNotRead(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for _, body := range []string{"{", `{"nobody":1}`, strings.Repeat("[", 100_000)} {
		for _, path := range []string{"/v1/accounts", "/v1/accounts/a/submissions", "/v1/accounts/a/messages:import", "/v1/tokens"} {
			h.do(t, http.MethodPost, path, body, "Authorization", "Bearer nobody's").refused(t, http.StatusUnauthorized, "TOKEN_INVALID")
		}
	}
	raw := grpc.ForceCodec(garbage{})
	err := h.grpc.Invoke(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer nobody's"),
		posternv1.AccountService_CreateAccount_FullMethodName, &posternv1.Account{}, &posternv1.Account{}, raw)
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stranger's garbage: %v", err)
	}
	err = h.grpc.Invoke(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token),
		posternv1.AccountService_CreateAccount_FullMethodName, &posternv1.Account{}, &posternv1.Account{}, raw)
	if status.Code(err) != codes.Internal {
		t.Errorf("garbage with a token: %v", err)
	}
}

// garbage is a codec whose requests nobody can read.
type garbage struct{}

func (garbage) Name() string                { return "proto" }
func (garbage) Marshal(any) ([]byte, error) { return []byte{0xff, 0xff, 0xff}, nil }
func (garbage) Unmarshal([]byte, any) error { return nil }
