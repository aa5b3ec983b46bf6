package submit

import (
	"errors"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/imapconn"
	"github.com/postern-mail/postern/internal/smtpconn"
)

// apply makes a submission out of what an attempt to send it came to. The receipt
// is nil where the server did not answer for the recipients. wait is the pause
// before the next attempt, where there is one.
func apply(s *Submission, receipt *smtpconn.Receipt, err error, now time.Time, wait time.Duration) {
	s.EndSent = false
	asked := s.asked()
	if receipt != nil {
		for i, r := range asked {
			r.Reply = receipt.Recipients[i]
			if receipt.Accepted && !r.Reply.Refused() {
				r.Reply.Text = receipt.Final.Text
			}
			r.State = stateOf(r.Reply)
		}
	}
	var uncertain *smtpconn.UncertainError
	if errors.As(err, &uncertain) {
		doubt(s, asked, now, err.Error()+". Whether the recipients have it is not known.")
		return
	}
	if err != nil {
		reply, state := verdict(err)
		for _, r := range asked {
			if receipt == nil || !r.Reply.Refused() {
				r.Reply, r.State = reply, state
			}
		}
	}
	settle(s, now, wait, err)
}

// asked are the recipients that an attempt is made for.
func (s *Submission) asked() []*Recipient {
	var asked []*Recipient
	for i := range s.Recipients {
		if s.Recipients[i].open() {
			asked = append(asked, &s.Recipients[i])
		}
	}
	return asked
}

// doubt holds a submission of which nobody knows whether it was sent.
func doubt(s *Submission, asked []*Recipient, now time.Time, detail string) {
	for _, r := range asked {
		if !r.Reply.Refused() {
			r.State = RecipientUncertain
		}
	}
	s.become(Uncertain, now, detail)
}

func stateOf(reply smtpconn.Reply) RecipientState {
	switch {
	case !reply.Refused():
		return RecipientSent
	case reply.Temporary():
		return RecipientDeferred
	}
	return RecipientRejected
}

// verdict tells an error that time may mend from one for good. Credentials and
// certificates are mended by people, who are given as much time as a server that
// is down.
func verdict(err error) (smtpconn.Reply, RecipientState) {
	var (
		refused   *smtpconn.RefusedError
		large     *smtpconn.TooLargeError
		lacking   *smtpconn.ExtensionError
		corrupted *BodyError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Reply, stateOf(refused.Reply)
	case errors.As(err, &large):
		// What a server that counts only at the end would say (RFC 1870 section 6.1).
		return smtpconn.Reply{Code: 552, Enhanced: "5.3.4", Text: err.Error()}, RecipientRejected
	case errors.As(err, &lacking):
		return smtpconn.Reply{Code: 554, Enhanced: "5.6.7", Text: err.Error()}, RecipientRejected
	case errors.As(err, &corrupted):
		return smtpconn.Reply{Text: err.Error()}, RecipientRejected
	}
	return smtpconn.Reply{Text: detailOf(err)}, RecipientDeferred
}

// detailOf says in words for people why an attempt failed.
func detailOf(err error) string {
	var (
		auth    *imapconn.AuthError
		refused *account.TokenRefusedError
		tlsErr  *imapconn.TLSError
	)
	switch {
	case errors.As(err, &tlsErr):
		return fmt.Sprintf("SMTP_TLS_FAILED: the connection to the server cannot be protected (%v). Nothing was sent in clear. "+
			"accounts:verify shows what is wrong; update the account's smtp. It is tried again.", tlsErr.Err)
	case errors.As(err, &auth), errors.As(err, &refused):
		return fmt.Sprintf("The server does not accept the account's credentials (%v). Update the account; it is tried again.", err)
	case errors.Is(err, account.ErrNoSMTP):
		return "The account has no SMTP server any more. Update the account; it is tried again."
	}
	return err.Error()
}

// settle gives a submission the state that its recipients make.
func settle(s *Submission, now time.Time, wait time.Duration, err error) {
	var deferred, sent, rejected int
	for i := range s.Recipients {
		r := &s.Recipients[i]
		if r.open() && !now.Add(wait).Before(s.GiveUpTime) {
			r.State = RecipientRejected
			r.Reply.Text = fmt.Sprintf("Given up after %d attempts. %s", s.Attempts, r.Reply.Text)
		}
		switch r.State {
		case RecipientPending, RecipientDeferred:
			deferred++
		case RecipientRejected:
			rejected++
		default:
			sent++
		}
	}
	detail := ""
	if err != nil {
		detail = detailOf(err)
	}
	switch {
	case deferred > 0:
		s.NextAttempt = now.Add(wait)
		if detail == "" {
			detail = fmt.Sprintf("%d of %d recipients were refused for now.", deferred, len(s.Recipients))
		}
		s.become(Deferred, now, detail)
	case rejected == 0:
		s.become(Sent, now, "")
	case sent == 0:
		if detail == "" {
			detail = "All recipients were refused."
		}
		s.become(Failed, now, detail)
	default:
		s.become(PartiallyRejected, now, fmt.Sprintf("%d of %d recipients were refused.", rejected, len(s.Recipients)))
	}
}

// BodyError says that the stored message of a submission cannot be read.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "the stored message cannot be read: " + e.Err.Error() }

// Unwrap returns the store's error.
func (e *BodyError) Unwrap() error { return e.Err }
