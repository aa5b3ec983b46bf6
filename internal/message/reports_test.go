package message

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	props := func(kv ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	tests := []struct {
		name, raw string
		want      []AuthenticationResults
	}{
		{"nothing checked", "example.org 1; none", []AuthenticationResults{{AuthservID: "example.org"}}},
		{"one", "example.com; spf=pass smtp.mailfrom=example.net", []AuthenticationResults{{AuthservID: "example.com", Results: []AuthenticationResult{
			{Method: "spf", Result: "pass", Properties: props("smtp.mailfrom", "example.net")},
		}}}},
		{"RFC 8601 appendix B.5", `example.com;
			dkim=pass (good signature) header.d=example.com;
			auth=pass (cram-md5) smtp.auth=sender@example.net;spf=fail
			smtp.mailfrom="a b@example.net"`, []AuthenticationResults{{AuthservID: "example.com", Results: []AuthenticationResult{
			{Method: "dkim", Result: "pass", Properties: props("header.d", "example.com")},
			{Method: "auth", Result: "pass", Properties: props("smtp.auth", "sender@example.net")},
			{Method: "spf", Result: "fail", Properties: props("smtp.mailfrom", "a b@example.net")},
		}}}},
		{"Google", `mx.google.com; dkim=pass header.i=@example.com header.s=s1 header.b=AbC=; dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=example.com`,
			[]AuthenticationResults{{AuthservID: "mx.google.com", Results: []AuthenticationResult{
				{Method: "dkim", Result: "pass", Properties: props("header.i", "@example.com", "header.s", "s1", "header.b", "AbC=")},
				{Method: "dmarc", Result: "pass", Properties: props("header.from", "example.com")},
			}}}},
		{"reason and version", `"mx.example.com" 1; DKIM/1 = FAIL reason="bad; really" header . d = x`, []AuthenticationResults{{AuthservID: "mx.example.com", Results: []AuthenticationResult{
			{Method: "dkim", Result: "fail", Reason: "bad; really", Properties: props("header.d", "x")},
		}}}},
		{"comment first", "(c) mx.example.com (x); spf=none", []AuthenticationResults{{AuthservID: "mx.example.com", Results: []AuthenticationResult{{Method: "spf", Result: "none"}}}}},
		{"no server", "spf=pass smtp.mailfrom=x", nil},
		{"empty", "", nil},
		{"garbage", "mx; ;;=;a=;=b; c=d =e", []AuthenticationResults{{AuthservID: "mx", Results: []AuthenticationResult{{Method: "c", Result: "d", Properties: props("", "e")}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := ParseHeader([]byte("Authentication-Results: " + strings.ReplaceAll(tt.raw, "\n", "\r\n")))
			if diff := cmp.Diff(tt.want, h.Authentication()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSecurity(t *testing.T) {
	t.Parallel()
	signed := func(protocol string, child *Part) *Part {
		return &Part{Type: "multipart/signed", Params: map[string]string{"protocol": protocol}, Children: []*Part{child, {Type: "application/pgp-signature"}}}
	}
	text := &Part{Type: "text/plain"}
	tests := []struct {
		name string
		root *Part
		want Security
	}{
		{"plain", text, Security{}},
		{"nothing", nil, Security{}},
		{"OpenPGP signature", signed("application/pgp-signature", text), Security{SchemeOpenPGP, true, false}},
		{"S/MIME signature", signed("application/x-pkcs7-signature", text), Security{SchemeSMIME, true, false}},
		{"signature that does not say what it is", signed("", text), Security{SchemeOpenPGP, true, false}},
		{"signed and encrypted", signed("application/pkcs7-signature", &Part{Type: "application/pkcs7-mime"}), Security{SchemeSMIME, true, true}},
		{"OpenPGP encryption", &Part{Type: "multipart/encrypted"}, Security{SchemeOpenPGP, false, true}},
		{"S/MIME encryption", &Part{Type: "application/pkcs7-mime", Params: map[string]string{"smime-type": "enveloped-data"}}, Security{SchemeSMIME, false, true}},
		{"S/MIME, opaque", &Part{Type: "application/x-pkcs7-mime", Params: map[string]string{"smime-type": "signed-data"}}, Security{SchemeSMIME, true, false}},
		{"mailing list", &Part{Type: "multipart/mixed", Children: []*Part{signed("application/pgp-signature", text), text}}, Security{SchemeOpenPGP, true, false}},
		{"Exchange", &Part{Type: "multipart/mixed", Children: []*Part{text, {Type: "application/pgp-encrypted"}}}, Security{SchemeOpenPGP, false, true}},
		{"signed attachment", &Part{Type: "multipart/mixed", Children: []*Part{text, {Type: "message/rfc822", Children: []*Part{{Type: "multipart/encrypted"}}}}}, Security{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.root.Security(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	for in, want := range map[string]Security{
		"-----BEGIN PGP MESSAGE-----\n\nx":                 {SchemeOpenPGP, false, true},
		"Hi\n-----BEGIN PGP SIGNED MESSAGE----- \nHash: x": {SchemeOpenPGP, true, false},
		"> -----BEGIN PGP MESSAGE-----":                    {},
		"the line -----BEGIN PGP MESSAGE-----":             {},
	} {
		if got := InlineSecurity(in); got != want {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

func TestReadFeedbackReport(t *testing.T) {
	t.Parallel()
	const report = "Feedback-Type: Fraud\r\nUser-Agent: Some/1.0\r\nVersion: 1\r\nOriginal-Mail-From: <a@example.com>\r\n" +
		"Original-Rcpt-To: <b@example.com>\r\nOriginal-Rcpt-To: c@example.com\r\nReceived-Date: Thu, 8 Mar 2005 14:00:00 -0500\r\n" +
		"Source-IP: 192.0.2.1\r\nReported-Domain: example.net\r\nReported-Domain: example.com\r\n"
	got, err := ReadFeedbackReport(strings.NewReader(report), &Part{Encoding: "7bit"})
	want := FeedbackReport{
		FeedbackType: "fraud", UserAgent: "Some/1.0", SourceIP: "192.0.2.1", OriginalMailFrom: "a@example.com",
		OriginalRcptTo: []string{"b@example.com", "c@example.com"}, ReportedDomains: []string{"example.net", "example.com"},
		Arrival: time.Date(2005, 3, 8, 14, 0, 0, 0, time.FixedZone("", -5*3600)),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	long := strings.Repeat("Original-Rcpt-To: x@example.com\r\n", 1000)
	if got, err := ReadFeedbackReport(strings.NewReader(long), &Part{}); len(got.OriginalRcptTo) != maxFeedbackItems || err != nil {
		t.Errorf("%d recipients, %v", len(got.OriginalRcptTo), err)
	}
}

func TestReadReceipt(t *testing.T) {
	t.Parallel()
	const receipt = "Final-Recipient: rfc822; <b@example.com>\r\nOriginal-Message-ID: <a@example.com>\r\n" +
		"Disposition: automatic-action/MDN-sent-automatically; Deleted/warning\r\n"
	got, err := ReadReceipt(strings.NewReader(receipt), &Part{Encoding: "7bit"})
	want := Receipt{Recipient: "b@example.com", OriginalMessageID: "a@example.com", Disposition: "deleted", Automatic: true}
	if got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadCalendar(t *testing.T) {
	t.Parallel()
	event := func(properties string) Calendar {
		t.Helper()
		raw := "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\n" + properties + "BEGIN:VALARM\nDESCRIPTION:alarm\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n"
		c, ok, err := ReadCalendar(strings.NewReader(raw), &Part{Encoding: "8bit"})
		if !ok || err != nil {
			t.Fatalf("%q: %t, %v", properties, ok, err)
		}
		return c
	}
	if c := event("DTSTART:20261124T140000Z\nDURATION:PT1H30M\n"); c.End.Local != "2026-11-24T15:30:00" || !c.End.Time.Equal(time.Date(2026, 11, 24, 15, 30, 0, 0, time.UTC)) {
		t.Errorf("duration: %+v", c.End)
	}
	if c := event("DTSTART;VALUE=DATE:20261124\nDURATION:P2D\n"); c.End.Local != "2026-11-26" || !c.Start.Time.IsZero() {
		t.Errorf("days: %+v", c)
	}
	c := event("DTSTART;TZID=Pacific Standard Time:20260701T090000\nRRULE:FREQ=WEEKLY;COUNT=3\nRECURRENCE-ID:20260708T160000Z\nSEQUENCE:2\n" +
		"DESCRIPTION:one\\ntwo\\, three\nATTENDEE;CN=\"B; b\";PARTSTAT=accepted;ROLE=CHAIR:MAILTO:b@example.com\nSTATUS:confirmed\n")
	if !c.Start.Time.Equal(time.Date(2026, 7, 1, 16, 0, 0, 0, time.UTC)) || c.Rule != "FREQ=WEEKLY;COUNT=3" || c.RecurrenceID.Local != "2026-07-08T16:00:00" ||
		c.Sequence != 2 || c.Description != "one\ntwo, three" || c.Status != "CONFIRMED" || c.Method != "REQUEST" {
		t.Errorf("%+v", c)
	}
	if want := (Attendee{Address{Name: "B; b", Address: "b@example.com"}, "ACCEPTED", "CHAIR"}); len(c.Attendees) != 1 || c.Attendees[0] != want {
		t.Errorf("attendees %+v", c.Attendees)
	}
	if c := event(strings.Repeat("ATTENDEE:mailto:b@example.com\n", 2000)); len(c.Attendees) != maxAttendees {
		t.Errorf("%d attendees", len(c.Attendees))
	}
	for _, zone := range []string{"../../etc/passwd", "/etc/passwd", "Nowhere/Land", "Local"} {
		if c := event("DTSTART;TZID=" + zone + ":20260701T090000\n"); !c.Start.Time.IsZero() || c.Start.Local == "" {
			t.Errorf("%s: %+v", zone, c.Start)
		}
	}
}

func TestWindowsZones(t *testing.T) {
	t.Parallel()
	for name, zone := range windowsZones {
		if _, err := time.LoadLocation(zone); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPreviewIsGood(t *testing.T) {
	t.Parallel()
	text := func(charset string) *Part { return &Part{Size: 10, Params: map[string]string{"charset": charset}} }
	for _, tt := range []struct {
		preview string
		body    *Part
		want    bool
	}{
		{"Hello", text("utf-8"), true},
		{"", text("utf-8"), false},
		{"", &Part{}, true},
		{"", nil, true},
		{"a \uFFFD b", text("ks_c_5601-1987"), false},
		{"\x1b$B$\"\x1b(B", text(""), false},
		{"5 +IKw-", text("unicode-1-1-utf-7"), false},
	} {
		if got := PreviewIsGood(tt.preview, tt.body); got != tt.want {
			t.Errorf("%q of %+v: %t", tt.preview, tt.body, got)
		}
	}
}

func FuzzReports(f *testing.F) {
	for _, raw := range corpus(f) {
		f.Add(string(raw))
	}
	f.Add("mx.example.com; dkim/1 = pass (a(b)c) reason=\"x\\\"y\" header . d = example.com; spf=fail")
	f.Add("P1W2DT3H4M5S")
	f.Fuzz(func(t *testing.T, raw string) {
		p := &Part{Encoding: "8bit"}
		feedback, err1 := ReadFeedbackReport(strings.NewReader(raw), p)
		receipt, err2 := ReadReceipt(strings.NewReader(raw), p)
		delivery, err3 := ReadDeliveryReport(strings.NewReader(raw), p)
		calendar, _, err4 := ReadCalendar(strings.NewReader(raw), p)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			t.Fatal(err1, err2, err3, err4)
		}
		calendar.Description = strings.ReplaceAll(calendar.Description, "\n", " ")
		authentication, _ := parseAuthentication(raw)
		for _, v := range []any{feedback, receipt, delivery, calendar, authentication} {
			text := fmt.Sprintf("%+v", v)
			oneLine(t, "report", text)
		}
		if d := calendarDuration(raw); d < 0 {
			t.Errorf("duration %v of %q", d, raw)
		}
	})
}
