package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/limit"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/template"
)

// submissionService implements SubmissionService.
type submissionService struct {
	posternv1.UnimplementedSubmissionServiceServer
	accounts accountReader
	composer composer
	drafts   *draftService
	store    *submit.Store
	requests *requestid.Store
	// templates are what mail can be merged with.
	templates *template.Store
	pager     pager
	// unsubscriber makes links by which recipients unsubscribe.
	unsubscriber unsubscriber
	// giveUp is for how long mail is tried.
	giveUp time.Duration
}

// CreateSubmission implements SubmissionService.
func (s *submissionService) CreateSubmission(ctx context.Context, req *posternv1.CreateSubmissionRequest) (*posternv1.Submission, error) {
	a, err := s.sender(ctx, req.GetParent(), req.GetSubmission())
	if err != nil {
		return nil, err
	}
	in := req.GetSubmission()
	attempt, err := s.begin(ctx, a.ID, req)
	if err != nil {
		return nil, err
	}
	if attempt.Repeated {
		made, err := s.store.Get(ctx, a.ID, attempt.Plan)
		if err == nil {
			return s.wait(ctx, made, in)
		}
		if !errors.Is(err, submit.ErrNotFound) {
			return nil, err
		}
	}
	// Before the mailbox is asked for what the message is made of.
	if err := s.store.Room(ctx, a.ID); err != nil {
		return nil, err
	}
	made, err := s.compose(ctx, a, attempt.Plan, in)
	if err != nil && req.GetRequestId() != "" {
		// The same call at the same time may have been faster, and have used what this
		// one did not find.
		if earlier, getErr := s.store.Get(ctx, a.ID, attempt.Plan); getErr == nil {
			return s.wait(ctx, earlier, in)
		}
	}
	if err != nil {
		return nil, err
	}
	s.dropUploads(ctx, a.ID, in)
	return s.wait(ctx, made, in)
}

// sender is the account that is to send something, if the caller may have it do so and
// it can.
func (s *submissionService) sender(ctx context.Context, name string, in *posternv1.Submission) (*account.Account, error) {
	if err := maySubmit(ctx, in); err != nil {
		return nil, err
	}
	a, err := s.accounts.Get(ctx, accountID(name))
	if err != nil {
		return nil, err
	}
	if _, ok := a.SMTPLogin(); !ok {
		return nil, account.ErrNoSMTP
	}
	return a, nil
}

// compose makes a message and stores it under an id, to be sent.
func (s *submissionService) compose(ctx context.Context, a *account.Account, id string, in *posternv1.Submission) (*submit.Submission, error) {
	message, err := s.outgoing(ctx, a, id, in)
	if err != nil {
		return nil, err
	}
	return s.create(ctx, a, id, in, message)
}

// create stores a message under an id, to be sent.
func (s *submissionService) create(ctx context.Context, a *account.Account, id string, in *posternv1.Submission, message *outgoing) (*submit.Submission, error) {
	submission, err := newSubmission(a, in, message)
	if err != nil {
		return nil, err
	}
	submission.ID = id
	if err := s.rejectBlocked(ctx, submission, in); err != nil {
		return nil, err
	}
	made, err := s.store.Create(ctx, submission, s.giveUp, func(w io.Writer, made *submit.Submission) error {
		info, err := message.write(ctx, &limitedWriter{w: w, left: maxMessage})
		made.EightBit, made.UTF8 = info.EightBit, made.UTF8 || info.UTF8
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create submission: %w", err)
	}
	return made, nil
}

// dropUploads forgets the uploads that a message was made of. What cannot be
// forgotten now is so by itself after a day.
func (s *submissionService) dropUploads(ctx context.Context, accountID string, in *posternv1.Submission) {
	for _, attachment := range in.GetAttachments() {
		if name := attachment.GetUpload(); name != "" {
			_ = s.store.DropUpload(ctx, accountID, lastSegment(name))
		}
	}
}

// begin begins an attempt at a request, whose plan is the submission's id. How long
// its sender waits is not part of what is asked for.
func (s *submissionService) begin(ctx context.Context, accountID string, req *posternv1.CreateSubmissionRequest) (*requestid.Attempt, error) {
	same, ok := proto.Clone(req).(*posternv1.CreateSubmissionRequest)
	if !ok {
		return nil, fmt.Errorf("clone of %T", req)
	}
	same.GetSubmission().Wait = nil
	return begin(ctx, s.requests, accountID, "CreateSubmission", req.GetRequestId(), same, submit.NewID(time.Now()))
}

// wait waits for a submission to come to rest, for as long as was asked.
func (s *submissionService) wait(ctx context.Context, made *submit.Submission, in *posternv1.Submission) (*posternv1.Submission, error) {
	if wait := in.GetWait().AsDuration(); wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		turn := limit.TurnOf(ctx)
		turn.Pause()
		defer turn.Resume()
		var err error
		if made, err = s.store.Wait(ctx, made); err != nil {
			return nil, fmt.Errorf("wait for the submission: %w", err)
		}
	}
	return submissionProto(made), nil
}

func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// resolve reads the name of a submission.
func (s *submissionService) resolve(ctx context.Context, name string) (accountID, id string, err error) {
	accountID, id, _ = strings.Cut(strings.TrimPrefix(name, "accounts/"), "/submissions/")
	_, err = s.accounts.Get(ctx, accountID)
	return accountID, id, err
}

// GetSubmission implements SubmissionService.
func (s *submissionService) GetSubmission(ctx context.Context, req *posternv1.GetSubmissionRequest) (*posternv1.Submission, error) {
	accountID, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	submission, err := s.store.Get(ctx, accountID, id)
	if err != nil {
		return nil, err
	}
	return submissionProto(submission), nil
}

// ListSubmissions implements SubmissionService.
func (s *submissionService) ListSubmissions(
	ctx context.Context, req *posternv1.ListSubmissionsRequest,
) (*posternv1.ListSubmissionsResponse, error) {
	a, err := s.accounts.Get(ctx, accountID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	after, err := s.pager.position(req)
	if err != nil {
		return nil, err
	}
	submissions, err := s.store.List(ctx, a.ID, string(after), pageSize(req.GetPageSize())+1)
	if err != nil {
		return nil, fmt.Errorf("list submissions: %w", err)
	}
	page, next, err := cutPage(s.pager, req, submissions, func(s *submit.Submission) []byte { return []byte(s.ID) })
	resp := &posternv1.ListSubmissionsResponse{NextPageToken: next}
	for _, submission := range page {
		resp.Submissions = append(resp.Submissions, submissionProto(submission))
	}
	return resp, err
}

// CancelSubmission implements SubmissionService.
func (s *submissionService) CancelSubmission(ctx context.Context, req *posternv1.CancelSubmissionRequest) (*posternv1.Submission, error) {
	accountID, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	submission, err := s.store.Cancel(ctx, accountID, id)
	if err != nil {
		return nil, fmt.Errorf("cancel submission: %w", err)
	}
	return submissionProto(submission), nil
}

// RetrySubmission implements SubmissionService.
func (s *submissionService) RetrySubmission(ctx context.Context, req *posternv1.RetrySubmissionRequest) (*posternv1.Submission, error) {
	accountID, id, err := s.resolve(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	submission, err := s.store.Retry(ctx, accountID, id, s.giveUp)
	if err != nil {
		return nil, fmt.Errorf("retry submission: %w", err)
	}
	return submissionProto(submission), nil
}
