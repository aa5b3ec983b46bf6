package event

// MessageBounced is the data of message.bounced: the message is a report that mail
// could not be delivered (RFC 3464). Submission names what it is about, where that
// was sent through Postern.
type MessageBounced struct {
	MessageRef
	Submission string `json:"submission,omitempty"`
	// OriginalMessageID is that of the mail that it is about, without angle
	// brackets.
	OriginalMessageID string            `json:"originalMessageId,omitempty"`
	Recipients        []BounceRecipient `json:"recipients"`
}

// BounceRecipient is one recipient that a report is about.
type BounceRecipient struct {
	Address string `json:"address"`
	// Action is "failed", "delayed" and so on; Status an enhanced code (RFC 3463).
	Action     string `json:"action,omitempty"`
	Status     string `json:"status,omitempty"`
	Diagnostic string `json:"diagnostic,omitempty"`
}

// Failed are the addresses of those who did not get it.
func (m *MessageBounced) Failed() []string {
	var failed []string
	for _, r := range m.Recipients {
		if r.Action == "failed" {
			failed = append(failed, r.Address)
		}
	}
	return failed
}

// EventType implements [Data].
func (*MessageBounced) EventType() Type { return TypeMessageBounced }

func (m *MessageBounced) bound() {
	m.MessageRef.bound()
	m.OriginalMessageID, _ = boundText(m.OriginalMessageID)
	out := make([]BounceRecipient, 0, min(len(m.Recipients), maxAddresses))
	for _, r := range m.Recipients[:min(len(m.Recipients), maxAddresses)] {
		r.Address, _ = boundTo(r.Address, maxAddress)
		r.Action, _ = boundTo(r.Action, maxName)
		r.Status, _ = boundTo(r.Status, maxName)
		r.Diagnostic, _ = boundTo(r.Diagnostic, maxElement)
		out = append(out, r)
	}
	m.Recipients = out
}

// MessageComplaint is the data of message.complaint: the message is a report that
// somebody complains of mail (RFC 5965). Submission names what it is about, where
// that was sent through Postern.
type MessageComplaint struct {
	MessageRef
	Submission string `json:"submission,omitempty"`
	// OriginalMessageID is that of the mail that it is about, without angle
	// brackets.
	OriginalMessageID string `json:"originalMessageId,omitempty"`
	// FeedbackType is "abuse", "fraud" and so on.
	FeedbackType string `json:"feedbackType,omitempty"`
	// Recipients are the addresses of those who complain, where the report says
	// so.
	Recipients []string `json:"recipients"`
}

// EventType implements [Data].
func (*MessageComplaint) EventType() Type { return TypeMessageComplaint }

func (m *MessageComplaint) bound() {
	m.MessageRef.bound()
	m.OriginalMessageID, _ = boundText(m.OriginalMessageID)
	m.FeedbackType, _ = boundTo(m.FeedbackType, maxName)
	out := make([]string, 0, min(len(m.Recipients), maxAddresses))
	for _, r := range m.Recipients[:min(len(m.Recipients), maxAddresses)] {
		r, _ = boundTo(r, maxAddress)
		out = append(out, r)
	}
	m.Recipients = out
}
