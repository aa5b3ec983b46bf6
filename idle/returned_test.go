package idle

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/event"
	"github.com/postern-mail/postern/internal/submit"
)

// bounceOf is a report that a message could not be delivered to an address, as
// Postfix writes it.
func bounceOf(messageID, address, action string) []byte {
	return []byte(strings.ReplaceAll(`Return-Path: <>
From: MAILER-DAEMON@mail.example.com
To: ann@example.com
Subject: Undelivered Mail Returned to Sender
Message-ID: <report.`+action+`@mail.example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="b"

--b
Content-Type: text/plain

I'm sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com
Original-Envelope-Id: e1

Final-Recipient: rfc822; `+address+`
Action: `+action+`
Status: 5.1.1
Diagnostic-Code: smtp; 550 no such user

--b
Content-Type: text/rfc822-headers

From: ann@example.com
To: `+address+`
Subject: Hi
Message-ID: <`+messageID+`>

--b--
`, "\n", "\r\n"))
}

// failingBounces makes attempts fail to note that a message bounced.
type failingBounces struct {
	*outbox
	left atomic.Int32
}

// Bounced implements Submissions.
func (f *failingBounces) Bounced(ctx context.Context, account, id string, addresses []string) error {
	if f.left.Add(-1) >= 0 {
		return errors.New("it was not noted")
	}
	return f.outbox.Bounced(ctx, account, id, addresses)
}

// sendThrough gives an account an SMTP server, which nobody talks to.
func (w *world) sendThrough(id string) {
	w.t.Helper()
	_, err := w.accounts.Update(w.t.Context(), id, "", func(a *account.Account) error {
		a.SMTP = &account.Endpoint{Host: "127.0.0.1", Port: 25, TLSMode: account.Plaintext, Username: "ann"}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// sent puts a submission into the outbox that was sent.
func (o *outbox) sent(account string) *submit.Submission {
	o.w.t.Helper()
	made := o.submit(account)
	_, err := o.Update(o.w.t.Context(), account, made.ID, func(s *submit.Submission) error {
		s.State, s.Saved = submit.Sent, true
		s.Recipients[0].State = submit.RecipientSent
		return nil
	})
	if err != nil {
		o.w.t.Fatal(err)
	}
	return made
}

func TestBouncesNameWhatWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := &failingBounces{outbox: newOutbox(w)}
	w.submissions = o
	server, username := w.mailbox("ann")
	w.sendThrough("ann")
	stop := w.start()
	w.awaitState("ann", account.Connected)
	one := o.sent("ann")
	// What was told and not noted is known by the log alone.
	o.left.Store(1 << 30)
	server.Deliver(t, username, "INBOX", bounceOf("1@example.com", "BOB@example.com", "failed"))
	bounced := w.awaitEvents("ann", event.TypeMessageBounced, 1)[0].Data.(*event.MessageBounced)
	want := event.BounceRecipient{Address: "BOB@example.com", Action: "failed", Status: "5.1.1", Diagnostic: "550 no such user"}
	if bounced.Submission != "accounts/ann/submissions/"+one.ID || bounced.OriginalMessageID != "1@example.com" ||
		len(bounced.Recipients) != 1 || bounced.Recipients[0] != want {
		t.Errorf("told of %+v", bounced)
	}
	stop()
	if s, err := o.Get(t.Context(), "ann", one.ID); err != nil || s.Recipients[0].State != submit.RecipientSent {
		t.Fatalf("%+v, %v", s, err)
	}
	o.left.Store(0)
	w.start()
	w.await("the recipient to have bounced", func() bool {
		s, err := o.Get(t.Context(), "ann", one.ID)
		return err == nil && s.Recipients[0].State == submit.RecipientBounced && s.State == submit.Sent
	})
	created := w.awaitEvents("ann", event.TypeMessageCreated, 1)[0]
	if told := w.awaitEvents("ann", event.TypeMessageBounced, 1)[0]; told.Number != created.Number+1 || bounced.Message != created.Data.(*event.MessageCreated).Message {
		t.Errorf("the message is event %d, its bounce event %d", created.Number, told.Number)
	}
	w.checkNumbers("ann")
}

func TestReportsThatAreNoBounces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newOutbox(w)
	server, username := w.mailbox("ann")
	w.sendThrough("ann")
	w.start()
	w.awaitState("ann", account.Connected)
	server.Deliver(t, username, "INBOX", bounceOf("2@example.com", "bob@example.com", "delayed"))
	server.Deliver(t, username, "INBOX", mail("no report"))
	abuse := strings.NewReplacer("report-type=delivery-status", "report-type=feedback-report", "message/delivery-status", "message/feedback-report",
		"Reporting-MTA: dns; mail.example.com", "Feedback-Type: abuse\r\nOriginal-Rcpt-To: bob@example.com").
		Replace(string(bounceOf("3@example.com", "bob@example.com", "failed")))
	server.Deliver(t, username, "INBOX", []byte(abuse))
	complaint := w.awaitEvents("ann", event.TypeMessageComplaint, 1)[0].Data.(*event.MessageComplaint)
	if complaint.FeedbackType != "abuse" || complaint.OriginalMessageID != "3@example.com" || complaint.Submission != "" ||
		strings.Join(complaint.Recipients, " ") != "bob@example.com" {
		t.Errorf("told of %+v", complaint)
	}
	w.awaitEvents("ann", event.TypeMessageCreated, 3)
	w.awaitEvents("ann", event.TypeMessageBounced, 0)
}
