package submit

import (
	"slices"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/smtpconn"
)

// State says how far a submission has come.
type State string

// The states. The last five are final, though Retry leads out of them, but for
// Sent and Canceled.
const (
	Scheduled         State = "SCHEDULED"          // waits for its time
	Queued            State = "QUEUED"             // to be sent now
	Sending           State = "SENDING"            // is being sent
	Deferred          State = "DEFERRED"           // tried, and will be again
	Sent              State = "SENT"               // accepted for all recipients
	PartiallyRejected State = "PARTIALLY_REJECTED" // accepted for some, refused for the others
	Failed            State = "FAILED"             // refused for all
	Canceled          State = "CANCELED"           // given up by request
	Uncertain         State = "UNCERTAIN"          // perhaps accepted; held
)

// Final reports whether nothing more happens by itself.
func (s State) Final() bool {
	return slices.Contains([]State{Sent, PartiallyRejected, Failed, Canceled, Uncertain}, s)
}

// RecipientState says what became of the message for one recipient.
type RecipientState string

// The states of recipients.
const (
	RecipientPending   RecipientState = "PENDING"   // not tried yet
	RecipientDeferred  RecipientState = "DEFERRED"  // refused for now
	RecipientSent      RecipientState = "SENT"      // accepted by the account's server
	RecipientRejected  RecipientState = "REJECTED"  // refused for good, or for too long
	RecipientUncertain RecipientState = "UNCERTAIN" // the server did not say
	RecipientCanceled  RecipientState = "CANCELED"  // given up by request
	RecipientBounced   RecipientState = "BOUNCED"   // accepted, and came back later
)

// Recipient is one address that a message is for.
type Recipient struct {
	Address string         `json:"address"`
	State   RecipientState `json:"state"`
	// Reply is what a server last said of it.
	Reply smtpconn.Reply `json:"reply,omitzero"`
	// Notify says when a delivery status notification is wanted.
	Notify []smtp.DSNNotify `json:"notify,omitempty"`
}

// open reports whether the recipient is still to be tried.
func (r *Recipient) open() bool { return r.State == RecipientPending || r.State == RecipientDeferred }

// SavePolicy says whether a copy of what was sent is put into the Sent folder.
type SavePolicy string

// The policies. Auto does it unless the provider does it by itself.
const (
	SaveAuto   SavePolicy = "AUTO"
	SaveAlways SavePolicy = "ALWAYS"
	SaveNever  SavePolicy = "NEVER"
)

// Submission is a message that was given to be sent. Its message is apart; see
// [Store.Body].
type Submission struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	State   State  `json:"state"`
	// From is the return address, empty for none.
	From       string      `json:"from"`
	Recipients []Recipient `json:"recipients"`
	// MessageID is that of the message, without angle brackets. Author and Subject
	// are of its header, for people.
	MessageID string `json:"message_id"`
	Author    Author `json:"author,omitzero"`
	Subject   string `json:"subject,omitempty"`
	// Size is that of the message in bytes.
	Size int64 `json:"size"`
	// BodyID tells the body of the message from those of other attempts to create the
	// submission. It is empty where there is none apart, and in what earlier versions
	// have stored.
	BodyID string `json:"body_id,omitempty"`
	// UTF8 and EightBit say what the message needs of the server.
	UTF8     bool `json:"utf8,omitempty"`
	EightBit bool `json:"eight_bit,omitempty"`
	// EnvelopeID and Return are for delivery status notifications (RFC 3461).
	EnvelopeID string         `json:"envelope_id,omitempty"`
	Return     smtp.DSNReturn `json:"return,omitempty"`
	Save       SavePolicy     `json:"save"`
	// Answers, where the message is a reply or forwards one, names that and the
	// flag that it gets when this is sent.
	Answers *Answered `json:"answers,omitempty"`
	// Draft, where the message was a draft, is the placement of that, which is
	// removed when this is sent.
	Draft string `json:"draft,omitempty"`

	CreateTime time.Time `json:"create_time"`
	// SendTime is when it is to be sent, zero for at once.
	SendTime time.Time `json:"send_time,omitzero"`
	// GiveUpTime is until when it is tried.
	GiveUpTime time.Time `json:"give_up_time"`
	// NextAttempt is when it is tried next, in states that are not final.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// EndTime is when it became final.
	EndTime time.Time `json:"end_time,omitzero"`
	// Attempts counts how often it was tried.
	Attempts int `json:"attempts,omitempty"`
	// Detail says why the state is what it is, for people.
	Detail string `json:"detail,omitempty"`
	// By names the run of an outbox that is sending it, in the state Sending.
	By string `json:"by,omitempty"`
	// EndSent says, in the state Sending, that the end of the message has or may
	// have been sent.
	EndSent bool `json:"end_sent,omitempty"`
	// Saved says that nothing is left to be done in the mailbox: the copy in the
	// Sent folder, and the flag of what it answers. SaveAttempts counts how often
	// that was tried.
	Saved        bool `json:"saved,omitempty"`
	SaveAttempts int  `json:"save_attempts,omitempty"`

	// Transitions are what is to be told of it, in order.
	Transitions []Transition `json:"transitions,omitempty"`

	// Revision is that of the stored submission.
	Revision uint64 `json:"-"`
	// message is a small message, which is kept with the submission. It is never
	// changed.
	message []byte
}

// Author is who wrote a message.
type Author struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

// Answered is a message that was replied to or forwarded.
type Answered struct {
	// Message is the id of the message's placement.
	Message string `json:"message"`
	// Flag is \Answered or $Forwarded.
	Flag string `json:"flag"`
}

// Transition is a change of a submission that is told to the world.
type Transition struct {
	State State     `json:"state"`
	Time  time.Time `json:"time"`
	// Attempt is how often it had been tried by then.
	Attempt int    `json:"attempt,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// maxTransitions bounds what is kept of a submission that is retried for long: the
// deferrals beyond it are not told of.
const maxTransitions = 100

// become changes the state and notes it as something to tell.
func (s *Submission) become(state State, now time.Time, detail string) {
	s.State, s.Detail = state, detail
	if state.Final() {
		s.EndTime, s.NextAttempt = now, now
		s.Saved = !s.touchesMailbox()
	}
	if state == Deferred && len(s.Transitions) >= maxTransitions {
		return
	}
	s.Transitions = append(s.Transitions, Transition{State: state, Time: now, Attempt: s.Attempts, Detail: detail})
}

// touchesMailbox reports whether there is something to do in the mailbox now that
// the submission has ended.
func (s *Submission) touchesMailbox() bool {
	went := s.State == Sent || s.State == PartiallyRejected
	return went && (s.Save != SaveNever || s.Answers != nil || s.Draft != "")
}

// clone makes a copy that shares nothing that can change.
func (s *Submission) clone() *Submission {
	c := *s
	c.Recipients, c.Transitions = slices.Clone(s.Recipients), slices.Clone(s.Transitions)
	return &c
}
