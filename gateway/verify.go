package gateway

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
)

// verifier tries the servers and credentials of accounts.
type verifier interface {
	Verify(ctx context.Context, a *account.Account) []account.Step
}

// VerifyAccount implements AccountService.
func (s *accountService) VerifyAccount(ctx context.Context, req *posternv1.VerifyAccountRequest) (*posternv1.VerifyAccountResponse, error) {
	a, err := s.registry.Get(ctx, accountID(req.GetName()))
	if err != nil {
		return nil, err
	}
	steps := s.verifier.Verify(ctx, a)
	resp := &posternv1.VerifyAccountResponse{
		Ok: !slices.ContainsFunc(steps, func(s account.Step) bool { return s.Outcome == account.StepFailed }),
	}
	for _, step := range steps {
		out := &posternv1.VerifyAccountResponse_Step{
			Check:   posternv1.VerifyAccountResponse_Step_Check(posternv1.VerifyAccountResponse_Step_Check_value[string(step.Check)]),
			Outcome: posternv1.VerifyAccountResponse_Step_Outcome(posternv1.VerifyAccountResponse_Step_Outcome_value[string(step.Outcome)]),
			Detail:  step.Detail,
			Elapsed: durationpb.New(step.Elapsed),
		}
		if step.Outcome == account.StepFailed {
			out.Reason = string(stepReason(ctx, step))
		}
		resp.Steps = append(resp.Steps, out)
	}
	return resp, nil
}

// stepReason gives the reason that a call which fails like this step would
// have. What is only a failure of the network has no type of its own there.
func stepReason(ctx context.Context, step account.Step) reason {
	why := classify(ctx, step.Err).reason
	switch why {
	case reasonInternal, reasonStoreUnavailable, reasonDeadlineExceeded:
		why = reasonIMAPUnavailable
	}
	if step.Check == account.CheckSMTPAuth {
		why = reason(strings.Replace(string(why), "IMAP_", "SMTP_", 1))
	}
	return why
}
