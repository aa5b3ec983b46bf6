package gateway

import (
	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/message"
)

// Bounds of the attachments in an answer. A list of 500 messages with the most
// parts that a message may have would be gigabytes.
const (
	maxAttachments      = 1000
	maxAttachmentsBrief = 100
)

// attachments makes the list of what can be downloaded from a message.
type attachments struct {
	messageName string
	// left is how many more there may be.
	left int
	// whole includes the parts of messages within the message.
	whole bool
}

// attachmentsBrief is for lists.
func attachmentsBrief(messageName string, parts []*message.Part) []*posternv1.Attachment {
	a := attachments{messageName: messageName, left: maxAttachmentsBrief}
	return a.list(parts)
}

// attachmentsWhole is for the view FULL. complete is false if there were more
// than may be shown.
func attachmentsWhole(messageName string, parts []*message.Part) (list []*posternv1.Attachment, complete bool) {
	a := attachments{messageName: messageName, left: maxAttachments, whole: true}
	list = a.list(parts)
	return list, a.left >= 0
}

func (a *attachments) list(parts []*message.Part) []*posternv1.Attachment {
	var list []*posternv1.Attachment
	for _, p := range parts {
		if a.left--; a.left < 0 {
			break
		}
		list = append(list, a.one(p))
	}
	return list
}

func (a *attachments) one(p *message.Part) *posternv1.Attachment {
	disposition := message.DispositionAttachment
	if p.Disposition == message.DispositionInline || (p.Disposition == message.DispositionNone && p.ContentID != "") {
		disposition = message.DispositionInline
	}
	out := &posternv1.Attachment{
		Name:        attachmentName(a.messageName, p),
		Part:        p.Path,
		Filename:    p.Filename,
		ContentType: p.Type,
		EncodedSize: max(p.Size, 0),
		ContentId:   p.ContentID,
		Disposition: string(disposition),
		Kind:        attachmentKind(p.Kind()),
	}
	if p.Envelope != nil {
		out.Message = embedded(p.Envelope)
		if a.whole && len(p.Children) > 0 {
			out.Message.Parts = a.list(partsOf(p.Children[0]))
		}
	}
	return out
}

func attachmentName(messageName string, p *message.Part) string {
	return messageName + "/attachments/" + p.Path
}

// partsOf are the texts of a message within a message, and its attachments.
func partsOf(root *message.Part) []*message.Part {
	var parts []*message.Part
	text, html := message.SelectBodies(root)
	for _, p := range []*message.Part{text, html} {
		if p != nil {
			parts = append(parts, p)
		}
	}
	return append(parts, message.Attachments(root)...)
}

// embedded is what a message within a message says of itself.
func embedded(e *message.Envelope) *posternv1.EmbeddedMessage {
	return &posternv1.EmbeddedMessage{
		From:      firstAddress(e.From),
		To:        addresses(e.To),
		Cc:        addresses(e.Cc),
		Subject:   e.Subject,
		Date:      timeProto(e.Date),
		MessageId: e.MessageID,
	}
}

func attachmentKind(k message.Kind) posternv1.Attachment_Kind {
	switch k {
	case message.KindMessage:
		return posternv1.Attachment_MESSAGE
	case message.KindCalendar:
		return posternv1.Attachment_CALENDAR
	case message.KindDeliveryStatus, message.KindDisposition, message.KindFeedback, message.KindHeaders:
		return posternv1.Attachment_REPORT
	case message.KindSignature:
		return posternv1.Attachment_SIGNATURE
	case message.KindEncrypted:
		return posternv1.Attachment_ENCRYPTED
	case message.KindTNEF:
		return posternv1.Attachment_TNEF
	}
	return posternv1.Attachment_KIND_UNSPECIFIED
}
