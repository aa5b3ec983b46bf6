package message

import (
	"io"
	"strings"
	"time"
)

// maxFeedbackItems bounds the lists of a feedback report.
const maxFeedbackItems = 100

// FeedbackReport is a message/feedback-report part (RFC 5965): somebody calls a
// message spam, or worse.
type FeedbackReport struct {
	// FeedbackType is abuse, fraud, virus, not-spam or other.
	FeedbackType     string
	UserAgent        string
	SourceIP         string
	Arrival          time.Time
	OriginalMailFrom string
	OriginalRcptTo   []string
	ReportedDomains  []string
}

// ReadFeedbackReport reads the body of p, a feedback report, from r. The error
// is r's.
func ReadFeedbackReport(r io.Reader, p *Part) (FeedbackReport, error) {
	h, err := readFields(r, p)
	if err != nil {
		return FeedbackReport{}, err
	}
	report := FeedbackReport{
		FeedbackType:     strings.ToLower(h.Get("Feedback-Type")),
		UserAgent:        h.Get("User-Agent"),
		SourceIP:         h.Get("Source-IP"),
		OriginalMailFrom: mailbox(h.Get("Original-Mail-From")),
	}
	// RFC 5965 section 3.2: Received-Date is the older name.
	for _, name := range []string{"Arrival-Date", "Received-Date"} {
		if t, _ := ParseDate(h.raw(name)); report.Arrival.IsZero() {
			report.Arrival = t
		}
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case strings.EqualFold(f.Name, "Original-Rcpt-To") && len(report.OriginalRcptTo) < maxFeedbackItems:
			report.OriginalRcptTo = append(report.OriginalRcptTo, mailbox(f.Value))
		case strings.EqualFold(f.Name, "Reported-Domain") && len(report.ReportedDomains) < maxFeedbackItems:
			report.ReportedDomains = append(report.ReportedDomains, f.Value)
		}
	}
	return report, nil
}

// readFields reads a part that is made of fields, like a header.
func readFields(r io.Reader, p *Part) (Header, error) {
	b, err := io.ReadAll(io.LimitReader(DecodePart(r, p.Encoding), MaxReport))
	if err != nil {
		return Header{}, err
	}
	return ParseHeader(b), nil
}

// Receipt is a message/disposition-notification part (RFC 8098).
type Receipt struct {
	Recipient string
	// OriginalMessageID is that of the message that the receipt is for.
	OriginalMessageID string
	// Disposition is displayed, deleted, dispatched or processed.
	Disposition string
	// Automatic says that it was sent without anybody's doing.
	Automatic bool
}

// ReadReceipt reads the body of p, a disposition notification, from r. The
// error is r's.
func ReadReceipt(r io.Reader, p *Part) (Receipt, error) {
	h, err := readFields(r, p)
	if err != nil {
		return Receipt{}, err
	}
	receipt := Receipt{Recipient: mailbox(h.Get("Final-Recipient"))}
	if ids, _ := parseMessageIDs(h.raw("Original-Message-ID")); len(ids) > 0 {
		receipt.OriginalMessageID = ids[0]
	}
	// RFC 8098 section 3.2.6: action-mode/sending-mode; type/modifiers.
	mode, what, _ := strings.Cut(strings.ToLower(h.Get("Disposition")), ";")
	what, _, _ = strings.Cut(what, "/")
	receipt.Disposition = strings.TrimSpace(what)
	receipt.Automatic = strings.Contains(mode, "mdn-sent-automatically")
	return receipt, nil
}

// ReadOriginal reads the body of p, the header of a message that a report
// returns (text/rfc822-headers, RFC 6522 section 4), from r. The error is r's.
func ReadOriginal(r io.Reader, p *Part) (Envelope, error) {
	h, err := readFields(r, p)
	if err != nil {
		return Envelope{}, err
	}
	e, _ := h.Envelope()
	return e, nil
}
