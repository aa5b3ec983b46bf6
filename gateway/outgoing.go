package gateway

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"google.golang.org/protobuf/proto"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/compose"
	"github.com/postern-mail/postern/internal/submit"
)

const (
	// maxMessage bounds a message that is sent, in bytes as it goes on the wire.
	maxMessage = 100 << 20
	// maxAhead is how far ahead mail can be scheduled.
	maxAhead = 366 * 24 * time.Hour
)

// outgoing is a message that is to be sent, ready to be written.
type outgoing struct {
	from       compose.Address
	recipients []string
	subject    string
	messageID  string
	// draft is the version of a draft that it was read from.
	draft string
	write func(ctx context.Context, w io.Writer) (compose.Info, error)
}

// outgoing makes the message of a request, for the submission that has an id.
func (s *submissionService) outgoing(ctx context.Context, a *account.Account, id string, in *posternv1.Submission) (*outgoing, error) {
	newID := func(from string) string { return submit.NewMessageID(id, domainOf(from)) }
	if len(in.GetRaw()) > 0 {
		return outgoingRaw(in, "raw", in.GetRaw(), newID)
	}
	if in.GetDraft() != "" {
		return s.outgoingDraft(ctx, a, in, newID)
	}
	m, err := s.composer.compose(ctx, a, in)
	if err != nil {
		return nil, err
	}
	m.MessageID = newID(m.From.Address)
	out := &outgoing{from: m.From, subject: m.Subject, messageID: m.MessageID, write: m.Write}
	for _, list := range [][]compose.Address{m.To, m.Cc, m.Bcc} {
		for _, address := range list {
			out.recipients = append(out.recipients, address.Address)
		}
	}
	headers, err := s.unsubscribeHeaders(a.ID, in, out.recipients)
	if err != nil {
		return nil, err
	}
	m.Headers = append(m.Headers, headers...)
	return out, nil
}

// outgoingDraft reads a draft as it is now.
func (s *submissionService) outgoingDraft(
	ctx context.Context, a *account.Account, in *posternv1.Submission, newID func(from string) string,
) (*outgoing, error) {
	if !strings.HasPrefix(in.GetDraft(), "accounts/"+a.ID+"/") {
		return nil, refuseField("submission.draft", reasonArgumentInvalid, "The draft belongs to another account.")
	}
	raw, at, err := s.drafts.whole(ctx, a, lastSegment(in.GetDraft()))
	if err != nil {
		return nil, fmt.Errorf("read the draft: %w", err)
	}
	out, err := outgoingRaw(in, "draft", raw, newID)
	if err != nil {
		return nil, err
	}
	out.draft = at.String()
	return out, nil
}

// outgoingRaw reads a message that is written already. field is that of the request
// which gives it; newID makes a Message-ID where there is none.
func outgoingRaw(in *posternv1.Submission, field string, content []byte, newID func(from string) string) (*outgoing, error) {
	rest, ok := proto.Clone(in).(*posternv1.Submission)
	if !ok {
		return nil, fmt.Errorf("clone of %T", in)
	}
	for _, beside := range []string{field, "envelope", "dsn", "send_time", "save_to_sent", "on_blocked", "wait"} {
		rest.ProtoReflect().Clear(submissionFields.Fields().ByTextName(beside))
	}
	if proto.Size(rest) > 0 {
		return nil, refuseField("submission."+field, reasonArgumentInvalid, "The message is given as %s, and in other fields: give it in one way.", field)
	}
	raw, wrong := compose.ReadRaw(content, time.Now(), newID)
	for i := range wrong {
		wrong[i].Field = field
	}
	if len(wrong) > 0 {
		return nil, refuseContent("submission", wrong)
	}
	return &outgoing{
		from: raw.From, recipients: raw.Recipients, subject: raw.Subject, messageID: raw.MessageID,
		write: func(_ context.Context, w io.Writer) (compose.Info, error) { return raw.Write(w) },
	}, nil
}

var submissionFields = (&posternv1.Submission{}).ProtoReflect().Descriptor()

// newSubmission makes the envelope of a message, and what else is to be done.
func newSubmission(a *account.Account, in *posternv1.Submission, m *outgoing) (*submit.Submission, error) {
	out := &submit.Submission{
		Account: a.ID, MessageID: m.messageID, Subject: m.subject, Author: submit.Author{Name: m.from.Name, Address: m.from.Address},
		EnvelopeID: in.GetDsn().GetEnvelopeId(), Save: submit.SaveAuto, Draft: m.draft,
	}
	if in.GetSaveToSent() != posternv1.Submission_SAVE_POLICY_UNSPECIFIED {
		out.Save = submit.SavePolicy(in.GetSaveToSent().String())
	}
	if r := in.GetDsn().GetReturn(); r != posternv1.Submission_DeliveryStatus_RETURN_UNSPECIFIED {
		out.Return = map[posternv1.Submission_DeliveryStatus_Return]smtp.DSNReturn{
			posternv1.Submission_DeliveryStatus_FULL: smtp.DSNReturnFull, posternv1.Submission_DeliveryStatus_HEADERS: smtp.DSNReturnHeaders,
		}[r]
	}
	if err := schedule(out, in); err != nil {
		return nil, err
	}
	if reply := in.GetReply(); reply != nil {
		out.Answers = &submit.Answered{Message: lastSegment(reply.GetMessage()), Flag: `\Answered`}
		if reply.GetMode() == posternv1.Reply_FORWARD {
			out.Answers.Flag = "$Forwarded"
		}
	}
	return out, address(out, in, m)
}

// schedule sets when mail is to be sent.
func schedule(out *submit.Submission, in *posternv1.Submission) error {
	if in.GetSendTime() == nil {
		return nil
	}
	out.SendTime = in.GetSendTime().AsTime()
	if !in.GetSendTime().IsValid() || time.Until(out.SendTime) > maxAhead {
		return refuseField("submission.send_time", reasonArgumentInvalid, "Mail can be scheduled for a year ahead at most.")
	}
	return nil
}

// address sets whom mail is from and to on its way, each recipient once.
func address(out *submit.Submission, in *posternv1.Submission, m *outgoing) error {
	from, recipients := m.from.Address, m.recipients
	if given := in.GetEnvelope().GetMailFrom(); given != "" {
		from = given
	}
	if given := in.GetEnvelope().GetRcptTo(); len(given) > 0 {
		recipients = given
	}
	if len(recipients) == 0 {
		return refuseField("submission.to", reasonArgumentInvalid, "The message has no recipients: give to, cc, bcc, or envelope.rcpt_to.")
	}
	if len(recipients) > compose.MaxRecipients {
		return refuseField("submission.to", reasonArgumentInvalid, "There are %d recipients, and at most %d are taken.", len(recipients), compose.MaxRecipients)
	}
	var utf8 bool
	var err error
	if out.From, utf8, err = compose.Wire(from); err != nil {
		return refuseField("submission.envelope.mail_from", reasonArgumentInvalid, "%s: %v.", said(from), err)
	}
	out.UTF8 = utf8
	notify := notifyOf(in.GetDsn())
	for _, recipient := range recipients {
		wire, utf8, err := compose.Wire(recipient)
		if err != nil {
			return refuseField("submission.envelope.rcpt_to", reasonArgumentInvalid, "%s: %v.", said(recipient), err)
		}
		out.UTF8 = out.UTF8 || utf8
		if !slices.ContainsFunc(out.Recipients, func(r submit.Recipient) bool { return r.Address == wire }) {
			out.Recipients = append(out.Recipients, submit.Recipient{Address: wire, Notify: notify})
		}
	}
	return nil
}

func notifyOf(dsn *posternv1.Submission_DeliveryStatus) []smtp.DSNNotify {
	var out []smtp.DSNNotify
	for _, notify := range dsn.GetNotify() {
		out = append(out, smtp.DSNNotify(notify.String()))
	}
	if slices.Contains(out, smtp.DSNNotifyNever) {
		return []smtp.DSNNotify{smtp.DSNNotifyNever} // RFC 3461 section 4.1
	}
	return out
}

// limitedWriter refuses what is larger than a message may be.
type limitedWriter struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, tooLargeMessage(maxMessage, 0)
	}
	return l.w.Write(p)
}
