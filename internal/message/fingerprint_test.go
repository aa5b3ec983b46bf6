package message

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

var fingerprintKey = [32]byte{1, 2, 3}

func sampleEnvelope() *imap.Envelope {
	return &imap.Envelope{
		Date:      time.Date(2026, 11, 23, 10, 15, 30, 0, time.FixedZone("", 3600)),
		Subject:   "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus Bonn",
		From:      []imap.Address{{Name: "Ann", Mailbox: "Ann", Host: "Example.com"}},
		To:        []imap.Address{{Mailbox: "bob", Host: "example.org"}, {Mailbox: "carol", Host: "example.org"}},
		MessageID: "a@example.com",
	}
}

// The value is in mailboxes' records everywhere: it must never change.
func TestFingerprintIsStable(t *testing.T) {
	t.Parallel()
	const want = "i0fn88l9p60nj2s30qu7ptcsoq5o7n55"
	if got := Fingerprint(fingerprintKey, sampleEnvelope(), 1234); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	const empty = "ds14k4s1l7qjof1in0j18e7pou8euqf6"
	if got := Fingerprint(fingerprintKey, nil, 0); got != empty {
		t.Errorf("of nothing: got %s, want %s", got, empty)
	}
}

func TestFingerprintIgnoresHowItIsTold(t *testing.T) {
	t.Parallel()
	want := Fingerprint(fingerprintKey, sampleEnvelope(), 1234)
	header := func(s string) func() string {
		return func() string {
			e, _ := ParseHeader([]byte(crlf(s))).Envelope()
			return e.Fingerprint(fingerprintKey, 1234)
		}
	}
	changed := func(f func(*imap.Envelope)) func() string {
		return func() string {
			e := sampleEnvelope()
			f(e)
			return Fingerprint(fingerprintKey, e, 1234)
		}
	}
	tests := []struct {
		name string
		got  func() string
		same bool
	}{
		{"from the header", header("Message-ID: <a@example.com>\nDate: Mon, 23 Nov 2026 10:15:30 +0100\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n aus Bonn\nFrom: Ann <Ann@Example.com>\nTo: bob@example.org,\n\t\"C\" <carol@example.org>\n"), true},
		{"raw subject in another zone", header("To: carol@example.org, bob@example.org\nFrom: ann@example.com\nSubject: Grüße  aus Bonn\nMessage-Id:\n <a@example.com>\nDate: 23 Nov 2026 09:15:30 GMT\n"), true},
		{"group", changed(func(e *imap.Envelope) {
			e.To = append([]imap.Address{{Mailbox: "team"}}, append(e.To, imap.Address{})...)
		}), true},
		{"names", changed(func(e *imap.Envelope) { e.From[0].Name = "" }), true},
		{"other subject", changed(func(e *imap.Envelope) { e.Subject += "!" }), false},
		{"other id", changed(func(e *imap.Envelope) { e.MessageID = "b@example.com" }), false},
		{"other sender", changed(func(e *imap.Envelope) { e.From[0].Mailbox = "eve" }), false},
		{"other recipient", changed(func(e *imap.Envelope) { e.To = e.To[:1] }), false},
		{"other time", changed(func(e *imap.Envelope) { e.Date = e.Date.Add(time.Second) }), false},
		{"other size", func() string { return Fingerprint(fingerprintKey, sampleEnvelope(), 1235) }, false},
		{"other key", func() string { return Fingerprint([32]byte{}, sampleEnvelope(), 1234) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.got()
			if (got == want) != tt.same {
				t.Errorf("%s and %s", got, want)
			}
			if strings.Trim(got, "0123456789abcdefghijklmnopqrstuv") != "" || len(got) != 32 {
				t.Errorf("%q does not fit into a subject", got)
			}
		})
	}
}
