package gateway

import (
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/submit"
)

func submissionProto(s *submit.Submission) *posternv1.Submission {
	out := &posternv1.Submission{
		Name:            event.SubmissionName(s.Account, s.ID),
		From:            &posternv1.Address{Name: s.Author.Name, Address: s.Author.Address},
		Subject:         s.Subject,
		SendTime:        timeProto(s.SendTime),
		SaveToSent:      posternv1.Submission_SavePolicy(posternv1.Submission_SavePolicy_value[string(s.Save)]),
		State:           posternv1.Submission_State(posternv1.Submission_State_value[string(s.State)]),
		StateDetail:     s.Detail,
		MessageId:       s.MessageID,
		Size:            s.Size,
		Attempts:        int32(s.Attempts),
		NextAttemptTime: timeProto(s.NextAttempt),
		CreateTime:      timeProto(s.CreateTime),
		EndTime:         timeProto(s.EndTime),
	}
	if s.State.Final() {
		out.NextAttemptTime = nil // what is left concerns the mailbox
	}
	for i := range s.Recipients {
		r := &s.Recipients[i]
		out.Recipients = append(out.Recipients, &posternv1.Submission_Recipient{
			Address:      r.Address,
			State:        posternv1.Submission_Recipient_State(posternv1.Submission_Recipient_State_value[string(r.State)]),
			SmtpCode:     int32(r.Reply.Code),
			EnhancedCode: r.Reply.Enhanced,
			Text:         r.Reply.Text,
		})
	}
	return out
}
