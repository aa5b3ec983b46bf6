package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postern-mail/postern/internal/account"
	"github.com/postern-mail/postern/internal/smtpconn"
)

const (
	// missingFor is how long after it was opened a submission may not be there:
	// its message is still being stored, or the process that did has died.
	missingFor = time.Hour
	// storeRetry is the pace of attempts while the store fails.
	storeRetry = 5 * time.Second
	// writeTimeout bounds the writing of what an attempt came to.
	writeTimeout = 5 * time.Second
)

// process does what is due for a submission, and says when there is more to do. It calls
// free once another one may be sent in its place.
func (o *Outbox) process(ctx context.Context, r ref, free func()) ended {
	log := o.config.Logger.With("account", r.account, "submission", r.id)
	end := ended{ref: r, sends: true}
	s, err := o.config.Store.Get(ctx, r.account, r.id)
	switch {
	case errors.Is(err, ErrNotFound):
		end.due, err = o.missing(ctx, r)
	case err == nil:
		end.due, err = o.step(ctx, s, free)
		end.sends = !s.State.Final()
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrConflict):
		// Another node sends, somebody has canceled, or what this one wrote was
		// stored without its hearing of it. What it is, the next look tells.
		end.due = time.Now().Add(storeRetry)
	default:
		log.Warn("a submission could not be worked on", "error", err)
		end.due = time.Now().Add(storeRetry)
	}
	end.again = !end.due.IsZero()
	return end
}

// step takes one step. It returns when the next one is due, zero for never, and
// only errors of the store.
func (o *Outbox) step(ctx context.Context, s *Submission, free func()) (time.Time, error) {
	switch {
	case s.State == Sending && s.By != o.run && s.Revision > o.inherited[shardOf(s.ID)]:
		return time.Time{}, nil // another node has taken over
	case s.State == Sending:
		return o.recover(ctx, s)
	case !s.State.Final() && s.NextAttempt.After(time.Now()):
		return s.NextAttempt, nil
	case !s.State.Final():
		return o.attempt(ctx, s, free)
	case !s.Saved && s.NextAttempt.After(time.Now()):
		return s.NextAttempt, nil
	case !s.Saved:
		return o.save(ctx, s)
	}
	if s.messageDone() && s.BodyID != "" {
		if err := o.config.Store.bodies.drop(ctx, s.bodyRef()); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, o.config.Store.closeDone(ctx, s.Account, s.ID)
}

// missing waits for a submission that was opened, and forgets it if it does not
// come.
func (o *Outbox) missing(ctx context.Context, r ref) (time.Time, error) {
	since, err := o.config.Store.openedAt(ctx, r.account, r.id)
	if err != nil || since.IsZero() {
		return time.Time{}, err
	}
	if until := since.Add(missingFor); until.After(time.Now()) {
		return until, nil // its creation comes by the watch
	}
	return time.Time{}, o.config.Store.forget(ctx, r.account, r.id)
}

// attempt sends a message to the recipients that are open and not blocked.
func (o *Outbox) attempt(ctx context.Context, s *Submission, free func()) (time.Time, error) {
	if _, err := o.config.Store.Reject(ctx, s); err != nil {
		return time.Time{}, err
	}
	if len(s.asked()) == 0 {
		settle(s, time.Now().UTC(), 0, nil)
		return s.NextAttempt, o.config.Store.write(ctx, s)
	}
	// What is quickly sent is written as being sent only before its end: see send.
	claim := s.message == nil || s.Attempts > 0
	s.Attempts++
	if claim {
		s.State, s.By, s.EndSent = Sending, o.run, false
		if err := o.config.Store.write(ctx, s); err != nil {
			return time.Time{}, err
		}
	}
	receipt, err := o.send(ctx, s)
	free()
	if errors.Is(err, ErrConflict) {
		return time.Time{}, err // somebody was faster; nothing was sent
	}
	// What was found out is written even if there is no time left for anything else.
	writeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err != nil && ctx.Err() != nil && !isUncertain(err) {
		// It was this outbox that had to go, not the server.
		s.State, s.NextAttempt = Queued, time.Now().UTC()
		s.Attempts--
		return s.NextAttempt, o.config.Store.write(writeCtx, s)
	}
	if isUncertain(err) && o.arrived(ctx, s) {
		found(s, time.Now().UTC())
	} else {
		apply(s, receipt, err, time.Now().UTC(), o.config.Pause(s.Attempts))
	}
	if err := o.config.Store.write(writeCtx, s); err != nil {
		return time.Time{}, err
	}
	return s.NextAttempt, nil
}

func isUncertain(err error) bool {
	var uncertain *smtpconn.UncertainError
	return errors.As(err, &uncertain)
}

// send hands the message over.
func (o *Outbox) send(ctx context.Context, s *Submission) (*smtpconn.Receipt, error) {
	a, err := o.config.Accounts.Get(ctx, s.Account)
	if errors.Is(err, account.ErrNotFound) {
		return nil, &smtpconn.RefusedError{Command: "send", Reply: smtpconn.Reply{Code: 550, Text: "the account was deleted"}}
	}
	if err != nil {
		return nil, err
	}
	message, err := o.config.Store.openMessage(ctx, s)
	if err != nil {
		return nil, err
	}
	m := &smtpconn.Message{
		From: s.From, Body: message, Size: s.Size, UTF8: s.UTF8, EightBit: s.EightBit,
		EnvelopeID: s.EnvelopeID, Return: s.Return,
		// From here on a crash leaves it in doubt. Whoever has taken over in the
		// meantime, or canceled it, has written the submission, and this fails.
		BeforeEnd: func(ctx context.Context) error {
			s.State, s.By, s.EndSent = Sending, o.run, true
			return o.config.Store.write(ctx, s)
		},
	}
	for _, r := range s.asked() {
		m.Recipients = append(m.Recipients, smtpconn.Recipient{Address: r.Address, Notify: r.Notify})
	}
	return o.config.Sender.Send(ctx, a, m)
}

// recover settles a submission that a process which is gone was sending.
func (o *Outbox) recover(ctx context.Context, s *Submission) (time.Time, error) {
	now := time.Now().UTC()
	switch {
	case !s.EndSent:
		s.State, s.NextAttempt = Queued, now
	case o.arrived(ctx, s):
		found(s, now)
	default:
		s.EndSent = false
		doubt(s, s.asked(), now, "Postern was stopped while the server answered. Whether the recipients have it is not known.")
	}
	return s.NextAttempt, o.config.Store.write(ctx, s)
}

// lookPauses are those before the looks for a message in the Sent folder: a provider
// that puts it there takes a moment.
var lookPauses = []time.Duration{0, time.Second, 3 * time.Second}

// arrived looks in the Sent folder for a message that is in doubt. A copy there
// was put there by the server that accepted the message: ours is put there later.
func (o *Outbox) arrived(ctx context.Context, s *Submission) bool {
	a, err := o.config.Accounts.Get(ctx, s.Account)
	if err != nil {
		return false
	}
	for _, pause := range lookPauses {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		there, err := o.config.Mailbox.FindSent(ctx, a, s.MessageID)
		if err != nil {
			o.config.Logger.Info("look for a message in doubt", "account", s.Account, "submission", s.ID, "error", err)
			return false
		}
		if there {
			return true
		}
	}
	return false
}

// found settles a submission whose message is in the Sent folder.
func found(s *Submission, now time.Time) {
	for _, r := range s.asked() {
		r.State, r.Reply = RecipientSent, smtpconn.Reply{Text: "The server did not answer, but the message is in the Sent folder."}
	}
	s.EndSent = false
	settle(s, now, 0, nil)
}

// saveFor is how many times the mailbox is tried after a message was sent, over
// about a day.
const saveFor = 12

// save does in the mailbox what is to be done after a message was sent.
func (o *Outbox) save(ctx context.Context, s *Submission) (time.Time, error) {
	err := o.inMailbox(ctx, s)
	if ctx.Err() != nil {
		return time.Time{}, ctx.Err() // whoever comes next does it
	}
	s.SaveAttempts++
	if err == nil || s.SaveAttempts >= saveFor || errors.Is(err, account.ErrNotFound) {
		s.Saved = true
	} else {
		s.NextAttempt = time.Now().UTC().Add(o.config.Pause(s.SaveAttempts))
	}
	if err != nil {
		o.config.Logger.Warn("a copy of what was sent", "account", s.Account, "submission", s.ID, "error", err, "given_up", s.Saved)
	}
	if err := o.config.Store.write(ctx, s); err != nil {
		return time.Time{}, err
	}
	return s.NextAttempt, nil
}

func (o *Outbox) inMailbox(ctx context.Context, s *Submission) error {
	a, err := o.config.Accounts.Get(ctx, s.Account)
	if err != nil {
		return err
	}
	if s.Save != SaveNever {
		open := func() (io.Reader, error) { return o.config.Store.openMessage(ctx, s) }
		if err := o.config.Mailbox.SaveSent(ctx, a, s, open); err != nil {
			return fmt.Errorf("save to Sent: %w", err)
		}
	}
	if s.Answers != nil {
		if err := o.config.Mailbox.MarkAnswered(ctx, a, s.Answers); err != nil {
			return fmt.Errorf("mark the message that it answers: %w", err)
		}
	}
	if s.Draft == "" {
		return nil
	}
	if err := o.config.Mailbox.RemoveDraft(ctx, a, s.Draft); err != nil {
		return fmt.Errorf("remove the draft: %w", err)
	}
	return nil
}
