package gateway

import (
	"context"
	"strings"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// SendDraft implements DraftService.
func (s *draftService) SendDraft(ctx context.Context, req *posternv1.SendDraftRequest) (*posternv1.Submission, error) {
	parent, _, _ := strings.Cut(req.GetName(), "/drafts/")
	return s.submissions.CreateSubmission(ctx, &posternv1.CreateSubmissionRequest{
		Parent: parent, RequestId: req.GetRequestId(),
		Submission: &posternv1.Submission{
			Draft: req.GetName(), SendTime: req.GetSendTime(), SaveToSent: req.GetSaveToSent(), Wait: req.GetWait(),
		},
	})
}
