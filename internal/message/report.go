package message

import (
	"bytes"
	"io"
	"strings"
	"time"
)

const (
	// MaxReport bounds how much of a report or calendar is read.
	MaxReport = 1 << 20
	// maxRecipients bounds the list in a report.
	maxRecipients = 1000
)

// DeliveryReport is a message/delivery-status part (RFC 3464).
type DeliveryReport struct {
	ReportingMTA string
	// EnvelopeID is what the sender called the mail (RFC 3461 section 4.4).
	EnvelopeID string
	Arrival    time.Time
	Recipients []DeliveryStatus
}

// DeliveryStatus tells what became of one recipient (RFC 3464 section 2.3).
type DeliveryStatus struct {
	Recipient         string
	OriginalRecipient string
	// Action is failed, delayed, delivered, relayed or expanded.
	Action string
	// Status is an enhanced status code (RFC 3463), "5.1.1".
	Status     string
	RemoteMTA  string
	Diagnostic string
}

// ReadDeliveryReport reads the body of p, a delivery status part, from r. The
// error is r's.
func ReadDeliveryReport(r io.Reader, p *Part) (DeliveryReport, error) {
	b, err := io.ReadAll(io.LimitReader(DecodePart(r, p.Encoding), MaxReport))
	if err != nil {
		return DeliveryReport{}, err
	}
	var report DeliveryReport
	first := true
	for len(b) > 0 && len(report.Recipients) < maxRecipients {
		h, n := nextBlock(b)
		b = b[n:]
		// Section 2.1: the first block is about the message, each other about
		// a recipient. Some forget the first.
		if first && !h.Has("Final-Recipient") {
			report.ReportingMTA = untyped(h.Get("Reporting-MTA"))
			report.EnvelopeID = strings.TrimSpace(h.Get("Original-Envelope-Id"))
			report.Arrival, _ = ParseDate(h.raw("Arrival-Date"))
		}
		first = first && len(h.Fields) == 0
		if !h.Has("Final-Recipient") && !h.Has("Original-Recipient") {
			continue
		}
		status, _, _ := strings.Cut(h.Get("Status"), " ")
		report.Recipients = append(report.Recipients, DeliveryStatus{
			Recipient:         mailbox(h.Get("Final-Recipient")),
			OriginalRecipient: mailbox(h.Get("Original-Recipient")),
			Action:            strings.ToLower(h.Get("Action")),
			Status:            status,
			RemoteMTA:         untyped(h.Get("Remote-MTA")),
			Diagnostic:        untyped(h.Get("Diagnostic-Code")),
		})
	}
	return report, nil
}

// nextBlock reads fields up to an empty line and tells how long that was.
func nextBlock(b []byte) (Header, int) {
	n := 0
	for n < len(b) {
		l := lineLength(b[n:])
		n += l
		if len(bytes.Trim(b[n-l:n], " \t\r\n")) == 0 {
			break
		}
	}
	return ParseHeader(b[:n]), n
}

// untyped takes the type off "rfc822; ann@example.com", and the blanks of
// folding out.
func untyped(s string) string {
	if _, after, ok := strings.Cut(s, ";"); ok {
		s = after
	}
	return strings.Join(strings.Fields(s), " ")
}

// mailbox is an address that some put in angle brackets.
func mailbox(s string) string { return strings.Trim(untyped(s), "<>") }
