package idle

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/message"
)

// maxReturned bounds how much is read of a report. What it says comes first; what
// may follow is the message that it is about.
const maxReturned = 256 << 10

// contentType tells a report from other mail.
var contentType = &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Content-Type"}, Peek: true}

// sends reports whether mail that comes back is looked for in the account.
func (o *owner) sends() bool {
	_, ok := o.account.SMTPLogin()
	return ok && o.config.Submissions != nil
}

// readReturned reads those of the new messages that report what became of mail.
func (o *owner) readReturned(ctx context.Context, l *look) error {
	if !o.sends() {
		return nil
	}
	for _, uid := range slices.Sorted(maps.Keys(l.arrivals)) {
		if _, moved := l.moved[uid]; moved {
			continue
		}
		field, ok := l.arrivals[uid].Section(contentType)
		if !ok || !message.MayBeReturned(string(field)) {
			continue
		}
		id := l.folder.messageID(uid)
		if o.unreadable[id] {
			o.log.Warn("a report on mail that was sent cannot be read", "message", id.String())
			continue
		}
		// What breaks the connection is not asked for again.
		o.unreadable[id] = true
		report, err := readReport(ctx, l.conn, uid)
		if err != nil {
			return err
		}
		delete(o.unreadable, id)
		data, err := o.returnedData(ctx, event.MessageAt(o.id(), id, o.account.EmailID(l.arrivals[uid], l.envelopes[uid]), ""), report)
		if err != nil {
			return logFailed(err)
		}
		if data != nil {
			l.returned[uid] = data
		}
	}
	return nil
}

// readReport reads the beginning of a message.
func readReport(ctx context.Context, conn *imapconn.Conn, uid imap.UID) (message.Returned, error) {
	var report message.Returned
	opts := &imapconn.FetchOptions{Body: func(_ *imapconn.FetchMessage, s *imapconn.BodySection) error {
		if s.Literal == nil {
			return nil
		}
		var err error
		report, err = message.ReadReturned(s.Literal)
		return err
	}}
	opts.BodySection = []*imap.FetchItemBodySection{{Peek: true, Partial: &imap.SectionPartial{Size: maxReturned}}}
	err := conn.Fetch(ctx, imap.UIDSetNum(uid), opts, func(*imapconn.FetchMessage) error { return nil })
	return report, err
}

// returnedData is what is told of a report, nil for nothing: one that mail was
// delivered, or takes long, says nothing that needs to be acted upon.
func (o *owner) returnedData(ctx context.Context, ref event.MessageRef, report message.Returned) (event.Data, error) {
	envelopeID := ""
	if report.Delivery != nil {
		envelopeID = report.Delivery.EnvelopeID
	}
	id, err := o.config.Submissions.Match(ctx, o.id(), report.OriginalMessageID, envelopeID)
	if err != nil {
		return nil, err
	}
	submission := ""
	if id != "" {
		submission = event.SubmissionName(o.id(), id)
	}
	switch {
	case report.Delivery != nil:
		data := &event.MessageBounced{MessageRef: ref, Submission: submission, OriginalMessageID: report.OriginalMessageID}
		for _, r := range report.Delivery.Recipients {
			address := r.OriginalRecipient
			if address == "" {
				address = r.Recipient
			}
			data.Recipients = append(data.Recipients, event.BounceRecipient{
				Address: address, Action: r.Action, Status: r.Status, Diagnostic: r.Diagnostic,
			})
		}
		if len(data.Failed()) > 0 {
			return data, nil
		}
	case report.Feedback != nil && report.Feedback.FeedbackType != "not-spam":
		return &event.MessageComplaint{
			MessageRef: ref, Submission: submission, OriginalMessageID: report.OriginalMessageID,
			FeedbackType: report.Feedback.FeedbackType, Recipients: report.Feedback.OriginalRcptTo,
		}, nil
	}
	return nil, nil
}

// returnedWith is what is told together with a message: what a report says, when the
// message is new.
func (l *look) returnedWith(uid imap.UID, data event.Data) (event.Data, bool) {
	created, ok := data.(*event.MessageCreated)
	if !ok || created.Origin != event.OriginNew && created.Origin != event.OriginResync {
		return nil, false
	}
	returned, ok := l.returned[uid]
	return returned, ok
}

// markBounced notes in the submissions what was told of them. Like the telling of
// submissions that is a second step: what was told and not noted, the log says.
func (o *owner) markBounced(ctx context.Context, told []*event.MessageBounced) error {
	for _, data := range told {
		if data.Submission == "" || o.config.Submissions == nil {
			continue
		}
		id := data.Submission[strings.LastIndexByte(data.Submission, '/')+1:]
		if err := o.config.Submissions.Bounced(ctx, o.id(), id, data.Failed()); err != nil {
			o.writer = nil
			return logFailed(err)
		}
	}
	return nil
}
