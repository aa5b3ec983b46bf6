package gateway

import (
	"bytes"
	"io"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/message"
)

// isReport: programs make such parts for programs, and their content belongs
// into the answer.
func isReport(k message.Kind) bool {
	switch k {
	case message.KindCalendar, message.KindDeliveryStatus, message.KindDisposition, message.KindFeedback, message.KindHeaders:
		return true
	}
	return false
}

// reportParts are the parts that are reports, the first of each kind.
func reportParts(parts []*message.Part) []*message.Part {
	var reports []*message.Part
	seen := make(map[message.Kind]bool)
	for _, p := range parts {
		if kind := p.Kind(); isReport(kind) && !seen[kind] {
			seen[kind] = true
			reports = append(reports, p)
		}
	}
	return reports
}

// readReports adds what the reports of a message say.
func readReports(out *posternv1.Message, s *message.Summary, found excerpts) error {
	var original *posternv1.EmbeddedMessage
	for _, p := range reportParts(s.Attachments) {
		kept, ok := found[p.Path]
		if !ok {
			continue
		}
		body := bytes.NewReader(kept.data)
		var err error
		switch p.Kind() {
		case message.KindCalendar:
			err = readCalendar(out, p, body)
		case message.KindDeliveryStatus:
			var r message.DeliveryReport
			r, err = message.ReadDeliveryReport(body, p)
			out.DeliveryReport = deliveryReportProto(&r)
		case message.KindFeedback:
			var r message.FeedbackReport
			r, err = message.ReadFeedbackReport(body, p)
			out.AbuseReport = abuseReportProto(&r)
		case message.KindDisposition:
			var r message.Receipt
			r, err = message.ReadReceipt(body, p)
			out.ReadReceipt = &posternv1.ReadReceipt{
				Recipient: r.Recipient, OriginalMessageId: r.OriginalMessageID, Disposition: r.Disposition, Automatic: r.Automatic,
			}
		case message.KindHeaders:
			var e message.Envelope
			e, err = message.ReadOriginal(body, p)
			original = embedded(&e)
		}
		if err != nil {
			return err
		}
	}
	setOriginal(out, s, original)
	return nil
}

// setOriginal says which message a report is about: the report returns the
// message itself, or only its header.
func setOriginal(out *posternv1.Message, s *message.Summary, original *posternv1.EmbeddedMessage) {
	for _, p := range s.Attachments {
		if original == nil && p.Envelope != nil {
			original = embedded(p.Envelope)
		}
	}
	if out.GetDeliveryReport() != nil {
		out.DeliveryReport.Original = original
	}
	if out.GetAbuseReport() != nil {
		out.AbuseReport.Original = original
	}
}

func readCalendar(out *posternv1.Message, p *message.Part, body io.Reader) error {
	c, ok, err := message.ReadCalendar(body, p)
	if err != nil || !ok {
		return err
	}
	event := &posternv1.CalendarEvent{
		Method: c.Method, Uid: c.UID, Sequence: c.Sequence, Summary: c.Summary, Description: c.Description,
		Location: c.Location, Status: c.Status, Start: calendarTimeProto(c.Start), End: calendarTimeProto(c.End),
		RecurrenceRule: c.Rule, RecurrenceId: calendarTimeProto(c.RecurrenceID), Attachment: attachmentName(out.GetName(), p),
	}
	if c.Organizer != (message.Address{}) {
		event.Organizer = addressProto(c.Organizer)
	}
	for _, a := range c.Attendees {
		event.Attendees = append(event.Attendees, &posternv1.Attendee{Address: addressProto(a.Address), Status: a.Status, Role: a.Role})
	}
	out.Calendar = event
	return nil
}

func calendarTimeProto(t message.CalendarTime) *posternv1.CalendarTime {
	if t.Local == "" {
		return nil
	}
	return &posternv1.CalendarTime{Local: t.Local, TimeZone: t.Zone, Time: timeProto(t.Time)}
}

func deliveryReportProto(r *message.DeliveryReport) *posternv1.DeliveryReport {
	out := &posternv1.DeliveryReport{ReportingMta: r.ReportingMTA, ArrivalTime: timeProto(r.Arrival)}
	for _, s := range r.Recipients {
		out.Recipients = append(out.Recipients, &posternv1.DeliveryStatus{
			Recipient: s.Recipient, OriginalRecipient: s.OriginalRecipient, Action: s.Action,
			Status: s.Status, RemoteMta: s.RemoteMTA, Diagnostic: s.Diagnostic,
		})
	}
	return out
}

func abuseReportProto(r *message.FeedbackReport) *posternv1.AbuseReport {
	return &posternv1.AbuseReport{
		FeedbackType: r.FeedbackType, UserAgent: r.UserAgent, SourceIp: r.SourceIP, ArrivalTime: timeProto(r.Arrival),
		OriginalMailFrom: r.OriginalMailFrom, OriginalRcptTo: r.OriginalRcptTo, ReportedDomains: r.ReportedDomains,
	}
}

func authenticationProto(list []message.AuthenticationResults) []*posternv1.AuthenticationResults {
	var out []*posternv1.AuthenticationResults
	for _, a := range list {
		results := &posternv1.AuthenticationResults{AuthservId: a.AuthservID}
		for _, r := range a.Results {
			results.Results = append(results.Results, &posternv1.AuthenticationResult{
				Method: r.Method, Result: r.Result, Reason: r.Reason, Properties: r.Properties,
			})
		}
		out = append(out, results)
	}
	return out
}
