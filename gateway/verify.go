package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
)

// verifier tries the servers and credentials of accounts, and knows which of the
// servers are taken for what they say they are.
type verifier interface {
	Unverified(e *account.Endpoint) bool
	Verify(ctx context.Context, a *account.Account) []account.Step
}

// VerifyAccount implements AccountService.
func (s *accountService) VerifyAccount(ctx context.Context, req *posternv1.VerifyAccountRequest) (*posternv1.VerifyAccountResponse, error) {
	a, err := s.registry.Get(ctx, accountID(req.GetName()))
	if err != nil {
		return nil, err
	}
	steps := s.connector.Verify(ctx, a)
	resp := &posternv1.VerifyAccountResponse{
		Ok: !slices.ContainsFunc(steps, func(s account.Step) bool { return s.Outcome == account.StepFailed }),
	}
	for _, step := range steps {
		out := &posternv1.VerifyAccountResponse_Step{
			Check:   posternv1.VerifyAccountResponse_Step_Check(posternv1.VerifyAccountResponse_Step_Check_value[string(step.Check)]),
			Outcome: posternv1.VerifyAccountResponse_Step_Outcome(posternv1.VerifyAccountResponse_Step_Outcome_value[string(step.Outcome)]),
			Detail:  step.Detail,
			Elapsed: durationpb.New(step.Elapsed),

			Certificate: certificateProto(step.Certificate),
		}
		if step.Outcome == account.StepFailed {
			out.Reason = string(stepReason(ctx, step))
		}
		resp.Steps = append(resp.Steps, out)
	}
	return resp, nil
}

// maxCertificateNames bounds what is told of a server's certificate.
const maxCertificateNames = 20

// certificateProto describes a certificate in words that the server has chosen,
// which are bounded.
func certificateProto(c *x509.Certificate) *posternv1.VerifyAccountResponse_Certificate {
	if c == nil {
		return nil
	}
	sum := sha256.Sum256(c.Raw)
	out := &posternv1.VerifyAccountResponse_Certificate{
		Key: account.KeyPin(c), Fingerprint: hex.EncodeToString(sum[:]), Issuer: said(c.Issuer.String()),
		NotBeforeTime: timestamppb.New(c.NotBefore), NotAfterTime: timestamppb.New(c.NotAfter),
	}
	for _, name := range c.DNSNames {
		out.Names = append(out.Names, said(name))
	}
	for _, ip := range c.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	out.Names = out.Names[:min(len(out.Names), maxCertificateNames)]
	return out
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
