package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/submit"
	"github.com/postern-mail/postern/internal/template"
)

const (
	// mergeAtOnce is how many messages of a merge are stored side by side: each
	// waits for the disk more than it computes.
	mergeAtOnce = 8
	// maxMerge bounds the messages of a merge together, in bytes: attachments are
	// stored with each.
	maxMerge = 1 << 30
)

// merge is a mail merge under way.
type merge struct {
	service  *submissionService
	account  *account.Account
	request  *posternv1.MergeSubmissionsRequest
	template *template.Template
	// plan is what the ids of the submissions are made of, and again says that some
	// of them may be there already.
	plan  string
	again bool
	// size sums up the messages.
	size atomic.Int64
}

// MergeSubmissions implements SubmissionService.
func (s *submissionService) MergeSubmissions(ctx context.Context, req *posternv1.MergeSubmissionsRequest) (*posternv1.MergeSubmissionsResponse, error) {
	a, err := s.sender(ctx, req.GetParent(), req.GetSubmission())
	if err != nil {
		return nil, err
	}
	if err := checkMerge(req); err != nil {
		return nil, err
	}
	if req.GetValidateOnly() {
		return s.merge(ctx, a, req, "", false)
	}
	resp := &posternv1.MergeSubmissionsResponse{}
	outcome, err := s.requests.DoPlanned(ctx, a.ID+"/MergeSubmissions", req.GetRequestId(), contentOf(req), submit.NewID(time.Now()),
		func(ctx context.Context, plan string, again bool) (string, error) {
			var err error
			if resp, err = s.merge(ctx, a, req, plan, again); err != nil {
				return "", err
			}
			if slices.ContainsFunc(resp.GetResults(), mayPass) {
				return "", &requestid.UncertainError{Err: errUnsettled}
			}
			return packAnswer(resp)
		})
	switch {
	case errors.Is(err, errUnsettled):
		return resp, nil
	case err != nil:
		return nil, err
	}
	return resp, unpackAnswer(outcome, resp)
}

// errUnsettled says that a merge is answered, and that a repetition is to try again
// what has failed.
var errUnsettled = errors.New("some messages failed for now")

// mayPass reports whether a recipient's message failed in a way that may pass, such
// as with a store that is out of reach.
func mayPass(r *posternv1.MergeSubmissionsResponse_Result) bool {
	switch codes.Code(r.GetError().GetCode()) {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange:
		return false
	default:
		return true
	}
}

// mergeable are the fields that the messages of a merge can have in common.
var mergeable = []protoreflect.Name{
	"from", "reply_to", "subject", "text", "html", "headers", "attachments", "calendar", "envelope", "dsn", "send_time", "save_to_sent",
	"on_blocked", "unsubscribe",
}

// checkMerge refuses what the messages of a merge cannot have in common.
func checkMerge(req *posternv1.MergeSubmissionsRequest) error {
	in := req.GetSubmission()
	var err error
	in.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(mergeable, field.Name()) {
			err = refuseField("submission."+string(field.Name()), reasonArgumentInvalid, "The messages of a merge cannot have %s in common.", field.Name())
		}
		return err == nil
	})
	inline := in.GetText() != "" || in.GetHtml() != ""
	switch {
	case err != nil:
		return err
	case len(in.GetEnvelope().GetRcptTo()) > 0:
		return refuseField("submission.envelope.rcpt_to", reasonArgumentInvalid, "Whom the messages are for is told by recipients.")
	case req.GetTemplate() == "" && !inline:
		return refuseField("template", reasonArgumentInvalid, "There is neither a template, nor text or html in the submission.")
	case req.GetTemplate() != "" && (inline || in.GetSubject() != ""):
		return refuseField("template", reasonArgumentInvalid, "The message is given as a template, and in the submission: give it in one way.")
	}
	return nil
}

// merge makes the messages of a merge and has them sent, unless it is only to
// validate. Once one of them may be there it fails with a [*requestid.UncertainError].
func (s *submissionService) merge(
	ctx context.Context, a *account.Account, req *posternv1.MergeSubmissionsRequest, plan string, again bool,
) (*posternv1.MergeSubmissionsResponse, error) {
	filled, err := s.mergeTemplate(ctx, req)
	if err != nil && again {
		return nil, &requestid.UncertainError{Err: err}
	}
	if err != nil {
		return nil, err
	}
	m := &merge{service: s, account: a, request: req, template: filled, plan: plan, again: again}
	resp := &posternv1.MergeSubmissionsResponse{Results: make([]*posternv1.MergeSubmissionsResponse_Result, len(req.GetRecipients()))}
	var group errgroup.Group
	group.SetLimit(mergeAtOnce)
	for i := range resp.Results {
		group.Go(func() error {
			resp.Results[i] = m.result(ctx, i)
			return nil
		})
	}
	_ = group.Wait() // what goes wrong is in the results
	if ctx.Err() != nil {
		return nil, &requestid.UncertainError{Err: ctx.Err()}
	}
	all := !slices.ContainsFunc(resp.Results, func(r *posternv1.MergeSubmissionsResponse_Result) bool { return r.Error != nil })
	if all && !req.GetValidateOnly() {
		s.dropUploads(ctx, a.ID, req.GetSubmission())
	}
	return resp, nil
}

// mergeTemplate is the template of a merge: one that is stored, or that of the request.
func (s *submissionService) mergeTemplate(ctx context.Context, req *posternv1.MergeSubmissionsRequest) (*template.Template, error) {
	in := req.GetSubmission()
	if name := req.GetTemplate(); name != "" {
		stored, err := s.templates.Get(ctx, templateID(name))
		if err != nil {
			return nil, err
		}
		content := stored.Content
		content.URL = in.GetUnsubscribe().GetUrl()
		parsed, err := template.Parse(content)
		return parsed, refuseTemplate("submission", err)
	}
	parsed, err := template.Parse(template.Content{
		Subject: in.GetSubject(), Text: in.GetText(), HTML: in.GetHtml(), URL: in.GetUnsubscribe().GetUrl(),
	})
	if err != nil {
		return nil, refuseTemplate("submission", err)
	}
	return parsed, nil
}

// result makes the message of one recipient and says what became of it.
func (m *merge) result(ctx context.Context, i int) *posternv1.MergeSubmissionsResponse_Result {
	made, err := m.one(ctx, i)
	if err != nil {
		return &posternv1.MergeSubmissionsResponse_Result{Error: statusProto(ctx, atRecipient(i, err))}
	}
	result := &posternv1.MergeSubmissionsResponse_Result{}
	if made != nil {
		result.Submission = event.SubmissionName(made.Account, made.ID)
	}
	return result
}

// one makes the message of one recipient. Where it is only to validate there is no
// submission.
func (m *merge) one(ctx context.Context, i int) (*submit.Submission, error) {
	id := submit.MergedID(m.plan, i)
	if m.again {
		if made, err := m.service.store.Get(ctx, m.account.ID, id); !errors.Is(err, submit.ErrNotFound) {
			return made, err
		}
	}
	recipient := m.request.GetRecipients()[i]
	content, err := m.template.Fill(ctx, template.Values(recipient.GetVariables().AsMap()))
	if err != nil {
		return nil, refuseFilling(fmt.Sprintf("recipients[%d].variables", i), err)
	}
	in := &posternv1.Submission{}
	m.request.GetSubmission().ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		in.ProtoReflect().Set(field, value) // shared: an attachment is not copied for each
		return true
	})
	in.Subject, in.Text, in.Html = content.Subject, content.Text, content.HTML
	in.To = []*posternv1.Address{recipient.GetTo()}
	if content.URL != "" {
		in.Unsubscribe = &posternv1.Submission_Unsubscribe{At: &posternv1.Submission_Unsubscribe_Url{Url: content.URL}}
	}
	message, err := m.service.outgoing(ctx, m.account, id, in)
	if err != nil {
		return nil, err
	}
	if m.request.GetValidateOnly() {
		submission, err := newSubmission(m.account, in, message)
		if err != nil {
			return nil, err
		}
		return nil, m.service.rejectBlocked(ctx, submission, in)
	}
	if m.size.Load() > maxMerge {
		return nil, refuse(codes.InvalidArgument, reasonMergeTooLarge,
			"The messages before this one have %d bytes together: send the rest in another merge, or less in each.", maxMerge)
	}
	made, err := m.service.create(ctx, m.account, id, in, message)
	if err == nil {
		m.size.Add(made.Size)
	}
	return made, err
}

// atRecipient has the violations of a recipient's message name the field of the
// request that they come from.
func atRecipient(i int, err error) error {
	f, ok := asFailure(err)
	if !ok {
		return err
	}
	for _, detail := range f.details {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, violation := range bad.GetFieldViolations() {
			if rest, ok := strings.CutPrefix(violation.GetField(), "submission.to[0]"); ok {
				violation.Field = fmt.Sprintf("recipients[%d].to%s", i, rest)
			}
		}
	}
	return f
}
