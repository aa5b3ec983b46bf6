package event

import "strings"

// SubmissionName is the resource name of a submission.
func SubmissionName(account, id string) string {
	return "accounts/" + account + "/submissions/" + id
}

// Submission is what every event of a submission says: how far it has come.
type Submission struct {
	Submission string `json:"submission"`
	// State is that of the submission, as the API spells it.
	State string `json:"state"`
	// MessageID is that of the message, without angle brackets.
	MessageID string `json:"messageId,omitempty"`
	// Attempt counts how often it had been tried.
	Attempt int    `json:"attempt,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// Recipients are as they were when the event was written. Truncated says
	// that they are not all.
	Recipients []SubmissionRecipient `json:"recipients"`
	Truncated  bool                  `json:"truncated,omitempty"`
	// Number counts what is told of the submission. It is part of the id.
	Number uint64 `json:"number,string"`
}

// SubmissionRecipient is what became of a message for one recipient.
type SubmissionRecipient struct {
	Address      string `json:"address"`
	State        string `json:"state"`
	SMTPCode     int    `json:"smtpCode,omitempty"`
	EnhancedCode string `json:"enhancedCode,omitempty"`
	Text         string `json:"text,omitempty"`
}

// Told says how much has been told of which submission, by the last part of its name.
func (s *Submission) Told() (id string, number uint64) {
	return s.Submission[strings.LastIndexByte(s.Submission, '/')+1:], s.Number
}

func (s *Submission) resource(string) string { return s.Submission }

// addKey: the n-th thing to tell of a submission is told once.
func (s *Submission) addKey(k naturalKey, _ uint64) {
	k.text(s.Submission)
	k.number(s.Number)
}

func (s *Submission) bound() {
	s.Detail, _ = boundText(s.Detail)
	s.MessageID, _ = boundText(s.MessageID)
	out := make([]SubmissionRecipient, 0, min(len(s.Recipients), maxAddresses))
	for _, r := range s.Recipients {
		if len(out) == maxAddresses {
			s.Truncated = true
			break
		}
		r.Address, _ = boundTo(r.Address, maxAddress)
		r.Text, _ = boundTo(r.Text, maxElement)
		out = append(out, r)
	}
	s.Recipients = out
}

// SubmissionQueued is the data of submission.queued: it is to be sent, now or at
// its time.
type SubmissionQueued struct{ Submission }

// EventType implements [Data].
func (*SubmissionQueued) EventType() Type { return TypeSubmissionQueued }

// SubmissionSent is the data of submission.sent: the account's server took it over
// for all recipients, or, with the state PARTIALLY_REJECTED, for some.
type SubmissionSent struct{ Submission }

// EventType implements [Data].
func (*SubmissionSent) EventType() Type { return TypeSubmissionSent }

// SubmissionDeferred is the data of submission.deferred: it could not be sent, and
// is tried again.
type SubmissionDeferred struct{ Submission }

// EventType implements [Data].
func (*SubmissionDeferred) EventType() Type { return TypeSubmissionDeferred }

// SubmissionFailed is the data of submission.failed: it was refused for all
// recipients, or for too long.
type SubmissionFailed struct{ Submission }

// EventType implements [Data].
func (*SubmissionFailed) EventType() Type { return TypeSubmissionFailed }

// SubmissionUncertain is the data of submission.uncertain: nobody knows whether it
// was sent, and it is held.
type SubmissionUncertain struct{ Submission }

// EventType implements [Data].
func (*SubmissionUncertain) EventType() Type { return TypeSubmissionUncertain }

// SubmissionCanceled is the data of submission.canceled.
type SubmissionCanceled struct{ Submission }

// EventType implements [Data].
func (*SubmissionCanceled) EventType() Type { return TypeSubmissionCanceled }
