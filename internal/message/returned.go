package message

import (
	"io"
	"strings"
)

// Returned is what a report tells of mail that was sent: that it could not be
// delivered, or that somebody complains of it.
type Returned struct {
	// Delivery or Feedback is nil, or both are.
	Delivery *DeliveryReport
	Feedback *FeedbackReport
	// OriginalMessageID is that of the mail, empty where it was not returned.
	OriginalMessageID string
}

// MayBeReturned tells by the Content-Type of a message whether [ReadReturned] may
// find something in it.
func MayBeReturned(contentType string) bool {
	t := strings.ToLower(contentType)
	return strings.Contains(t, "multipart/report") && (strings.Contains(t, "delivery-status") || strings.Contains(t, "feedback-report"))
}

// ReadReturned reads a raw message, or its beginning: what the report says and what
// it returns come before the end. The error is r's.
func ReadReturned(r io.Reader) (Returned, error) {
	var found Returned
	_, err := Walk(r, Limits{}, func(p *Part, body io.Reader) error {
		switch p.Kind() {
		case KindDeliveryStatus:
			report, err := ReadDeliveryReport(body, p)
			if err == nil && found.Delivery == nil {
				found.Delivery = &report
			}
			return err
		case KindFeedback:
			report, err := ReadFeedbackReport(body, p)
			if err == nil && found.Feedback == nil {
				found.Feedback = &report
			}
			return err
		case KindHeaders, KindMessage:
			original, err := ReadOriginal(body, p)
			if found.OriginalMessageID == "" {
				found.OriginalMessageID = original.MessageID
			}
			return err
		}
		return nil
	})
	return found, err
}
